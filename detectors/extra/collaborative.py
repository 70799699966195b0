"""A dense head on the encoder's maps, whose positives become queries with known objects (Co-DETR, arXiv 2211.12860).

The head teaches the encoder, its queries the decoder: an object has many of them, where a one-to-one matching gives it one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from torch import Tensor, nn

from ...assigners import Assigner, KnownPairs, Positives, Predictions
from ...assigners.checks import check_norm_groups, check_positive
from ...assigners.matching.pairs import prior_boxes
from ...heads.dense import DenseHead
from ...heads.query import ExtraOutputs
from ...heads.reference import inverse_sigmoid, wide_dtype
from ..transformer.memory import Memory
from ..transformer.queries import AnchorProjection, Queries
from .scene import EXTRAS, Host, Scene


@EXTRAS.register("collaborative")
class Collaborative(nn.Module):
    """An auxiliary dense head under any dense assigner, and queries at its positives, which nothing matches again.

    The head sees the encoder's levels and one more, made of the coarsest. Of its losses, whose names have "dense" before
    the extra's, and of those of the queries come gradients of all its parameters in every batch.

    Args:
        host: the detector's parts.
        dense: the head's assigner.
        head: further arguments of `DenseHead`, in place of one convolution per tower.
        prior_scale: side of the samples' anchor boxes, in strides.
        norm_groups: of the head's norms, a divisor of the detector's channels.
        dense_weight: of the head's losses, for every layer of the decoder.
        least, most, fill: of the slots for queries, see `Positives`.
        assigner: weighs the queries' pairs; None is the decoder's. Its matching is not asked.
        weight: of the queries' losses.

    Raises:
        ValueError: for channels that `norm_groups` does not divide, weights and scales that are not positive, and as
            `DenseHead` and `Positives` do.
    """

    def __init__(
        self,
        host: Host,
        dense: Any = "atss",
        head: Mapping[str, Any] | None = None,
        prior_scale: float = 8.0,
        norm_groups: int = 32,
        dense_weight: float = 2.0,
        least: int = 9,
        most: int = 300,
        fill: Literal["padding", "negatives"] = "padding",
        assigner: Any = None,
        weight: float = 1.0,
    ) -> None:
        super().__init__()
        channels = host.head.classes[0].in_features
        check_norm_groups(norm_groups, channels)
        for name, value in (("prior_scale", prior_scale), ("dense_weight", dense_weight), ("weight", weight)):
            check_positive(name, value)
        self.choose = Positives(least, most, fill)
        self.head, self.norm_groups = dict(head or {}), norm_groups
        self.least, self.most, self.fill = least, most, fill
        self.prior_scale, self.dense_weight, self.weight = prior_scale, dense_weight, weight
        self.assigner = host.assigner(assigner)
        coarser = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
        self.coarser = nn.Sequential(coarser, nn.GroupNorm(norm_groups, channels))
        options = {
            "feat_channels": channels,
            "stacked_convs": 1,
            "norm_groups": norm_groups,
            "home": "atss",
            **self.head,
        }
        strides = tuple(8 * 2**level for level in range(host.levels + 1))  # as many; those of a batch are told to it
        self.auxiliary = DenseHead(host.head.num_classes, channels, dense, strides=strides, **options)
        self.projection = AnchorProjection(channels, place=host.decoder.guide.needs_position)

    @property
    def dense(self) -> Assigner:
        """The head's assigner."""
        return self.auxiliary.assigner

    def forward(self, scene: Scene) -> ExtraOutputs:
        predictions = inside(self._predictions(scene.memory), scene.targets.sizes)
        assignment, losses = self.auxiliary.assign_and_loss(predictions, scene.targets)
        target = assignment.target_of(predictions.logits.shape[1])
        priors = prior_boxes(predictions, self.prior_scale).expand(len(target), -1, -1)
        known = self.choose(priors, target, scene.targets, predictions.valid)
        outputs = scene.decode(self._queries(known, scene), sight=known.sight())
        factor = self.dense_weight * len(scene.decoder.layers)
        losses = {f"{name}_dense": factor * loss for name, loss in losses.items()}
        return ExtraOutputs(outputs, scene.targets, self.assigner, known, weight=self.weight, losses=losses)

    def _predictions(self, memory: Memory) -> Predictions:
        maps, strides = memory.maps, memory.strides
        return self.auxiliary([*maps, self.coarser(maps[-1])], [*strides, 2 * strides[-1]])

    def _queries(self, known: KnownPairs, scene: Scene) -> Queries:
        own = scene.queries
        logits = inverse_sigmoid(known.boxes, scene.head.eps).to(wide_dtype(own.content))
        position, content = self.projection(logits)
        return Queries(content, position, None if own.anchors is None else logits[..., : own.anchors.shape[-1]])


def inside(predictions: Predictions, sizes: Tensor) -> Predictions:
    """The same, of which the samples outside images of these sizes, (B, 2) width and height in pixels, do not count."""
    valid = (predictions.points < sizes[:, None]).all(-1)
    second = predictions.auxiliary
    return replace(predictions, valid=valid, auxiliary=second and inside(second, sizes))

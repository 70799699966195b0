"""The query detector: backbone, projection, encoder, queries, decoder, query head. Every DETR is one of these."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from mmdet.models import BaseDetector
from mmdet.structures import DetDataSample
from torch import Tensor, nn

from ..assigners import Predictions, Targets
from ..assigners.description import constants
from ..heads import PostProcess
from ..heads.postprocess import QUERY_NMS
from ..heads.query import OUTPUTS, QueryHead, QueryOutputs, last_predictions
from ..ops.transfer import to_device
from .extra import EXTRAS, Extra, Host, Scene
from .extra.scene import read, with_encoder
from .observer import Observation, Observer, observed
from .preprocessor import Preprocessor
from .targets import detected, sizes_of, targets_on
from .transformer import QueryDecoder, QueryDenoising, TwoStageQueries
from .transformer.attention import InFront
from .transformer.queries import Queries, QuerySource

TAKEN = (*OUTPUTS, "decoder", "dn", "enc")  # names of outputs, and what losses of the detector's own end in
LAYER = re.compile(r"_\d+$")  # what losses of a layer end in


class QueryDetector(BaseDetector):
    """Detector whose predictions are a set of queries.

    Args:
        backbone: images (B, 3, H, W) -> tuple of feature maps.
        neck: those -> levels (B, C, h, w), fine to coarse.
        encoder: levels -> tokens that know of each other.
        queries: where queries start.
        decoder: moves them.
        head: class, box and loss of every query.
        denoising: None, or arguments of `QueryDenoising` ({"denoising": "cdn"}).
        extra: what training adds to the queries, by the names that its losses end in: {"branch": {"repeat": 6}}, or with a
            "type" of `detassign.detectors.EXTRAS` where the name is another. Inference knows nothing of it.
        post_process: settings of inference; NMS that is left open follows the assigner.
        preprocessor: batching, normalisation and padding.

    Raises:
        ValueError: when the parts do not fit together.
    """

    def __init__(
        self,
        backbone: nn.Module,
        neck: nn.Module,
        encoder: nn.Module,
        queries: nn.Module,
        decoder: QueryDecoder,
        head: QueryHead,
        denoising: Mapping[str, Any] | None = None,
        extra: Mapping[str, Any] | None = None,
        post_process: PostProcess | None = None,
        preprocessor: Preprocessor | None = None,
    ) -> None:
        super().__init__(data_preprocessor=preprocessor or Preprocessor())
        check_parts(neck, encoder, queries, decoder, head)
        self.backbone = backbone
        self.neck = neck
        self.encoder = encoder
        self.queries = queries
        self.decoder = decoder
        self.bbox_head = head  # the name that mmdet's detectors give it
        self.denoising = None if denoising is None else self._denoising(denoising)
        host = Host(queries, decoder, head, levels_made(neck, encoder, decoder))
        self.extra = nn.ModuleDict(build_extras(extra or {}, host))
        post_process = post_process or PostProcess(score_threshold=-1.0)
        self.post_process = post_process.following(head.assigner.cardinality, QUERY_NMS)
        self.observer: Observer | None = None

    extra_repr = constants

    def _denoising(self, arguments: str | Mapping[str, Any]) -> QueryDenoising:
        arguments = {"denoising": arguments} if isinstance(arguments, str) else arguments
        position = self.decoder.guide.needs_position and not self.queries.makes_positions
        classes, channels = self.bbox_head.num_classes, self.encoder.channels
        return QueryDenoising(num_classes=classes, channels=channels, position=position, **arguments)

    def outputs(
        self,
        features: list[Tensor],
        sizes: Tensor,
        shape: tuple[int, int],
        padded: bool,
        targets: Targets | None = None,
    ) -> QueryOutputs:
        """Predictions from the backbone's maps.

        Args:
            features: (B, C_i, h_i, w_i), fine to coarse.
            sizes: (B, 2) valid width and height of each image, pixels.
            shape: height and width of the padded batch, pixels.
            padded: whether any image is smaller than that.
            targets: with denoising queries made from them; None at inference.
        """
        memory = self.encoder(self.neck(features), sizes, shape, padded)
        own = queries = self.queries(memory, self.bbox_head)
        denoising, sight = None, None
        if self.denoising is not None:
            queries, denoising, sight = self._with_denoising(queries, targets)
        front = 0 if denoising is None else denoising.boxes.shape[1]
        decoded = self.decoder(queries, memory, self.bbox_head, sight, distinct_behind=front)
        outputs = with_encoder(
            read(decoded, own.proposals, self.bbox_head), own.proposals, self.bbox_head, self.bbox_head.encoder
        )
        extra = {}
        if targets is not None and self.extra:
            parts = {"source": self.queries, "decoder": self.decoder, "head": self.bbox_head, "mark": self._mark}
            scene = Scene(memory, own, decoded.behind(front), targets, **parts)
            extra = {name: each(scene) for name, each in self.extra.items()}
        return replace(outputs, denoising=denoising, extra=extra)

    def _mark(self, queries: Queries) -> Queries:
        return queries if self.denoising is None else self.denoising.matching(queries)

    def _with_denoising(self, queries: Queries, targets: Targets | None) -> tuple:
        if targets is None:
            return self.denoising.matching(queries), None, None
        joined, denoising = self.denoising(queries, targets)
        count = denoising.boxes.shape[1]
        if count == 0:
            return joined, denoising, None
        return joined, denoising, InFront(~denoising.attention_mask(queries.content.shape[1])[:count])

    def extract_feat(self, batch_inputs: Tensor) -> list[Tensor]:
        """The backbone's maps of images (B, 3, H, W)."""
        return list(self.backbone(batch_inputs))

    def loss(self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample]) -> dict[str, Tensor]:
        """The head's losses; see `QueryHead.assign_and_loss` for their names."""
        targets = targets_on(batch_inputs.device, batch_data_samples, self.bbox_head.num_classes)
        outputs = self._outputs(batch_inputs, batch_data_samples, targets.sizes, targets)
        with observed(self.observer, batch_inputs, batch_data_samples) as report:
            assignment, losses = self.bbox_head.assign_and_loss(outputs, targets)
            report(assignment, lambda: self.bbox_head.asked(outputs, targets))
        return losses

    @torch.no_grad()
    def assigned(self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample]) -> Observation:
        """Which query would learn which object of images (B, 3, H, W) in every layer, without denoising and extras."""
        targets = targets_on(batch_inputs.device, batch_data_samples, self.bbox_head.num_classes)
        outputs = self._outputs(batch_inputs, batch_data_samples, targets.sizes)
        asked = self.bbox_head.asked(outputs, targets)
        return Observation(self.bbox_head.assigner(*asked), lambda: asked, batch_data_samples)

    @torch.no_grad()
    def predict(
        self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample], rescale: bool = True
    ) -> list[DetDataSample]:
        predictions = self.predictions(batch_inputs, batch_data_samples)
        return detected(self.bbox_head, self.post_process, predictions, batch_data_samples, rescale)

    def predictions(self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample]) -> Predictions:
        """What the last decoder layer says of images (B, 3, H, W), undecided."""
        sizes = to_device(sizes_of(batch_data_samples), batch_inputs.device)
        return last_predictions(self._outputs(batch_inputs, batch_data_samples, sizes), sizes)

    def predictions_within(self, images: Tensor, sizes: Tensor) -> Predictions:
        """The same of images whose valid sizes (B, 2) are a tensor, as an exported network is given them."""
        shape = (images.shape[-2], images.shape[-1])
        return last_predictions(self.outputs(self.extract_feat(images), sizes, shape, padded=True), sizes)

    def _outputs(
        self, images: Tensor, samples: list[DetDataSample], sizes: Tensor, targets: Targets | None = None
    ) -> QueryOutputs:
        shape = (images.shape[-2], images.shape[-1])
        padded = any(tuple(sample.img_shape[:2]) != shape for sample in samples)  # known on the host: no wait for it
        return self.outputs(self.extract_feat(images), sizes, shape, padded, targets)

    def _forward(
        self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample] | None = None
    ) -> tuple[Tensor, ...]:
        height, width = batch_inputs.shape[-2:]
        sizes = batch_inputs.new_tensor([[width, height]]).expand(len(batch_inputs), 2)
        outputs = self.outputs(self.extract_feat(batch_inputs), sizes, (height, width), padded=False)
        predictions = last_predictions(outputs, sizes)
        scores, factor = self.bbox_head.scores(predictions)
        return predictions.boxes, scores if factor is None else scores * factor[..., None]


def build_extras(extra: Mapping[str, Any], host: Host) -> dict[str, Extra]:
    """Extras by name.

    Raises:
        ValueError: for what is no dict of names, and as `build_extra` does.
    """
    if not isinstance(extra, Mapping):
        raise ValueError(f"extra: expected a dict by name, such as {{'branch': {{'repeat': 6}}}}, got {extra!r}")
    return {name: build_extra(name, spec, host) for name, spec in extra.items()}


def build_extra(name: str, spec: Any, host: Host) -> Extra:
    """An extra from its arguments, of the kind that its name or its "type" says.

    Raises:
        ValueError: for a name that losses of the detector's own end in, and as the extra does.
    """
    if name in TAKEN or not name.isidentifier() or LAYER.search(name):
        raise ValueError(
            f"extra: {name!r} cannot be a name of one; take letters, digits and _, no number of a layer at the end, and "
            f"none of {', '.join(TAKEN)}"
        )
    return EXTRAS.build({"type": name, **spec} if isinstance(spec, Mapping) else spec, host=host)


def check_parts(
    neck: nn.Module, encoder: nn.Module, queries: nn.Module, decoder: QueryDecoder, head: QueryHead
) -> None:
    """Raise ValueError when the parts of a query detector do not fit together."""
    if len(head.boxes) not in (1, len(decoder.layers)):
        raise ValueError(f"layers: the decoder has {len(decoder.layers)}, the head is for {len(head.boxes)}")
    if (head.encoder is not None) != isinstance(queries, TwoStageQueries):
        raise ValueError(f"encoder: {head.encoder!r} of the head does not go with {type(queries).__name__}")
    check_queries(queries, decoder)
    head_width = head.classes[0].in_features
    widths = {"encoder": encoder.channels, "decoder": decoder.layers[0].norm1.normalized_shape[0]}
    for name, width in widths.items():
        if width != head_width:
            raise ValueError(f"channels: the head takes {head_width}, the {name} has {width}; all parts must agree")
    levels = levels_made(neck, encoder, decoder)
    for name, part in {"encoder": encoder, "decoder": decoder}.items():
        own = levels_of(part)
        if own not in (None, levels):
            raise ValueError(f"levels: the neck makes {levels}, the {name} takes {own}")


def check_queries(queries: QuerySource, decoder: QueryDecoder) -> None:
    """Raise ValueError when the decoder needs what these queries do not have."""
    kind, guide = type(queries).__name__, type(decoder.guide).__name__
    has = {0: "neither points nor boxes", 2: "points and no boxes", 4: "boxes"}[queries.coordinates]
    if queries.coordinates < decoder.guide.coordinates:
        needed = {2: "points", 4: "boxes"}[decoder.guide.coordinates]
        raise ValueError(f"guide: {guide} needs queries that start from {needed}; {kind} have {has}")
    if decoder.guide.needs_position and not queries.has_positions:
        raise ValueError(f"guide: {guide} needs queries with places of their own; {kind} have {has} alone")
    if decoder.refinement == "forward_twice" and queries.coordinates == 2:
        raise ValueError("refinement: forward_twice moves boxes, and these queries start from points; take detached")
    if decoder.refinement is not None and queries.coordinates == 0:
        raise ValueError(f"refinement: {decoder.refinement} moves points or boxes, and {kind} have {has}; take None")


def levels_made(neck: nn.Module, *takers: nn.Module) -> int:
    """How many levels the encoder makes: as many as the neck, or as those that take them where the neck does not say."""
    return len(getattr(neck, "levels", ())) or next(filter(None, map(levels_of, takers)), 1)


def levels_of(part: nn.Module) -> int | None:
    """How many levels an encoder or a decoder takes; None where any number will do."""
    found = {int(module.levels) for module in part.modules() if hasattr(module, "levels")}
    return max(found, default=None)

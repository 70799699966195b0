"""The query head: class and box of every query after every decoder layer, and what they are trained on.

DETR (arXiv 2005.12872) and its descendants. All decoder layers are predicted, assigned and trained in one pass: they are
stacked along the batch axis (`Predictions.groups`).
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torchvision.ops import box_convert

from ..assigners import Assigner, Assignment, Predictions, Targets, build
from ..assigners.denoising import DenoisingQueries
from ..assigners.description import constants
from .mlp import MLP
from .reference import inverse_sigmoid, shares

PROVIDES = frozenset({"logits", "boxes"})


@dataclass(frozen=True)
class QueryOutputs:
    """What a query detector predicts of one batch; boxes are cx, cy, w, h, shares of each image.

    Attributes:
        logits: (L, B, Q, C), one entry per decoder layer.
        boxes: (L, B, Q, 4).
        references: L tensors (B, Q, 2 or 4) that the boxes started from, or None.
        denoising: queries among them, the first ones, whose match is known; None at inference.
        encoder_logits: (B, N, C) of the encoder's proposals that are trained, or None.
        encoder_boxes: (B, N, 4), or None.
    """

    logits: Tensor
    boxes: Tensor
    references: tuple[Tensor, ...] | None = None
    denoising: DenoisingQueries | None = None
    encoder_logits: Tensor | None = None
    encoder_boxes: Tensor | None = None

    def split(self) -> tuple[QueryOutputs, QueryOutputs]:
        """The denoising queries' part, and the rest without it."""
        count = 0 if self.denoising is None else self.denoising.boxes.shape[1]
        return (
            QueryOutputs(self.logits[:, :, :count], self.boxes[:, :, :count]),
            QueryOutputs(
                self.logits[:, :, count:], self.boxes[:, :, count:], None, None, self.encoder_logits, self.encoder_boxes
            ),
        )


class QueryHead(nn.Module):
    """Class and box of every query under any assigner that can do without sample points.

    Args:
        num_classes: C.
        assigner: an `Assigner`, or what `detassign.assigners.build` takes.
        channels: of the queries.
        layers: of the decoder.
        shared: one classifier and one box network for all layers, or one each.
        encoder: how the encoder's proposals are trained: None without any; "binary" all of them, as one class
            (Deformable DETR); "classes" those that became queries, on the real classes (DINO).
        eps: of the inverse sigmoid that boxes start from.
        refine_eps: the same where references move between layers; None takes `eps` (mmdet's DAB-DETR and DINO differ).
        class_prior: initial probability of every class; None keeps torch's initialisation.
        zero_boxes: the last layer of box networks starts at zero.
        size_bias: initial bias of w and h of the first box network (Deformable DETR starts at -2).

    Raises:
        ValueError: for an unknown choice, and when the assigner needs what queries do not provide.
    """

    def __init__(
        self,
        num_classes: int,
        assigner: Assigner | str | dict[str, Any] = "hungarian",
        channels: int = 256,
        layers: int = 6,
        shared: bool = True,
        encoder: Literal["binary", "classes"] | None = None,
        eps: float = 1e-3,
        refine_eps: float | None = None,
        class_prior: float | None = 0.01,
        zero_boxes: bool = True,
        size_bias: float = 0.0,
    ) -> None:
        super().__init__()
        if encoder not in (None, "binary", "classes"):
            raise ValueError(f"encoder: expected None, 'binary' or 'classes', got {encoder!r}")
        self.num_classes, self.encoder = num_classes, encoder
        self.eps, self.refine_eps = eps, eps if refine_eps is None else refine_eps
        self.assigner = build(assigner, num_classes=num_classes)
        check_assigner(self.assigner)
        logits = num_classes + self.assigner.score.background_column
        count = 1 if shared else layers
        classifier, box = nn.Linear(channels, logits), MLP(channels, channels, channels, 4)
        if class_prior is not None and not 0 < class_prior < 1:
            raise ValueError(f"class_prior: expected a probability between 0 and 1, or None, got {class_prior!r}")
        if class_prior is not None and not self.assigner.score.background_column:
            nn.init.constant_(classifier.bias, -math.log((1 - class_prior) / class_prior))
        if zero_boxes:
            nn.init.zeros_(box.layers[-1].weight)
            nn.init.zeros_(box.layers[-1].bias)
        self.classes = nn.ModuleList(copy.deepcopy(classifier) for _ in range(count))
        self.boxes = nn.ModuleList(copy.deepcopy(box) for _ in range(count))
        self.encoder_class = copy.deepcopy(classifier) if encoder else None
        self.encoder_box = copy.deepcopy(box) if encoder else None
        with torch.no_grad():
            self.boxes[0].layers[-1].bias[2:] += size_bias

    extra_repr = constants

    def refine(self, layer: int, states: Tensor, reference: Tensor) -> Tensor:
        """(B, Q, 4) boxes, shares of the image, from states (B, Q, C) and references (B, Q, 2 or 4)."""
        return move(self.boxes[layer % len(self.boxes)](states), reference, self.refine_eps)

    def encoder_predictions(self, tokens: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """Class logits (B, S, C) and box logits (B, S, 4) from tokens (B, S, C) and proposals (B, S, 4), logits."""
        if self.encoder is None:
            raise ValueError("encoder: this head has no part for the encoder's proposals, which the queries need")
        return self.encoder_class(tokens), self.encoder_box(tokens) + places

    def ranking(self, logits: Tensor) -> Tensor:
        """(B, S, C) what orders tokens as the probabilities of the classes do, from their logits."""
        if self.assigner.score.background_column:
            return logits.log_softmax(-1)[..., : self.num_classes]
        return logits

    def forward(self, states: Tensor, references: tuple[Tensor, ...] | None, boxes: Tensor | None) -> QueryOutputs:
        """Predictions of all layers.

        Args:
            states: (L, B, Q, C).
            references: L tensors (B, Q, 2 or 4), shares of the image, that boxes start from; None without any.
            boxes: (L, B, Q, 4) where the decoder predicted them already, else None.
        """
        if boxes is None:
            boxes = self._boxes(states, references)
        return QueryOutputs(self._per_layer(self.classes, states), boxes, references)

    def _boxes(self, states: Tensor, references: tuple[Tensor, ...] | None) -> Tensor:
        change = self._per_layer(self.boxes, states)
        if references is None:
            return shares(change)
        if references[0].shape != references[-1].shape:  # a point that became a box
            return torch.stack([move(*each, self.eps) for each in zip(change, references, strict=True)])
        return move(change, torch.stack(references), self.eps)

    def _per_layer(self, networks: nn.ModuleList, states: Tensor) -> Tensor:
        if len(networks) == 1:
            return networks[0](states)
        return torch.stack([network(state) for network, state in zip(networks, states, strict=True)])

    def loss(self, outputs: QueryOutputs, targets: Targets) -> dict[str, Tensor]:
        """All losses by name; see `assign_and_loss`."""
        return self.assign_and_loss(outputs, targets)[1]

    def assign_and_loss(self, outputs: QueryOutputs, targets: Targets) -> tuple[Assignment, dict[str, Tensor]]:
        """The assignment of all decoder layers, stacked, and every loss.

        The keys depend on the detector alone, never on the batch: `loss_cls` and the box terms of the last layer, the
        same with `_0`, `_1`, … for the layers before it, `_enc` for the encoder, and `_dn`, `_dn_0`, … for denoising.
        """
        denoising, matching = outputs.split()
        layers = len(matching.logits)
        stacked, names = matching, layer_names(layers)
        joint = self.encoder == "classes" and matching.encoder_logits is not None
        if joint:
            stacked, names = _with_encoder(matching), [*names, "_enc"]
        assignment, terms = self._losses(stacked, targets)
        losses = named(terms, names)
        if self.encoder == "binary" and matching.encoder_logits is not None:
            losses |= self._binary_losses(matching, targets)
        if outputs.denoising is not None:
            losses |= self._denoising_losses(denoising, outputs.denoising, targets)
        return assignment, losses

    def _losses(self, outputs: QueryOutputs, targets: Targets, matches: Any = None) -> tuple[Assignment, dict]:
        predictions = stacked_predictions(outputs, targets)
        repeated = targets.repeat(len(outputs.logits))
        return self.assigner.assign_and_loss(predictions, repeated, matches=matches)

    def _binary_losses(self, outputs: QueryOutputs, targets: Targets) -> dict[str, Tensor]:
        encoder = QueryOutputs(outputs.encoder_logits[None], outputs.encoder_boxes[None])
        one_class = Targets(targets.boxes, torch.zeros_like(targets.labels), targets.mask, sizes=targets.sizes)
        return named(self._losses(encoder, one_class)[1], ["_enc"])

    def _denoising_losses(
        self, outputs: QueryOutputs, denoising: DenoisingQueries, targets: Targets
    ) -> dict[str, Tensor]:
        layers = len(outputs.logits)
        terms = self._losses(outputs, denoising.found(targets), denoising.matches(layers))[1]
        return named(terms, [f"_dn{name}" for name in layer_names(layers)])

    def scores(self, predictions: Predictions) -> tuple[Tensor, None]:
        """Class scores (B, N, C); there is no second factor."""
        return self.assigner.score(predictions.at_least_float32()).probability, None


def stacked_predictions(outputs: QueryOutputs, targets: Targets) -> Predictions:
    """Decoder layers stacked along the batch, (L * B, Q, …), boxes xyxy in pixels."""
    layers = len(outputs.logits)
    boxes = pixel_boxes(outputs.boxes, targets.sizes)
    return Predictions(outputs.logits.flatten(0, 1), boxes.flatten(0, 1), groups=layers)


def last_predictions(outputs: QueryOutputs, sizes: Tensor) -> Predictions:
    """What the last decoder layer says, boxes xyxy in pixels of images of `sizes` (B, 2) width and height."""
    return Predictions(outputs.logits[-1], pixel_boxes(outputs.boxes[-1], sizes))


def pixel_boxes(boxes: Tensor, sizes: Tensor) -> Tensor:
    """(…, B, N, 4) cx, cy, w, h, shares of the image -> xyxy, pixels; sizes (B, 2) width, height."""
    wide = boxes.to(torch.promote_types(boxes.dtype, torch.float32))
    return box_convert(wide, "cxcywh", "xyxy") * sizes.to(wide).repeat(1, 2)[:, None]


def layer_names(layers: int) -> list[str]:
    """Endings of the losses of decoder layers: _0, _1, … and none for the last.

    >>> layer_names(3)
    ['_0', '_1', '']
    """
    return [*(f"_{index}" for index in range(layers - 1)), ""]


def named(terms: dict[str, Tensor], names: list[str]) -> dict[str, Tensor]:
    """One scalar per term and group: terms (G,) and G endings; both signs of the class loss are added up."""
    terms = dict(terms)
    classes = terms.pop("loss_cls_pos") + terms.pop("loss_cls_neg")
    terms = {"loss_cls": classes, **terms}
    return {
        f"{key}{name}": value
        for key, values in terms.items()
        for name, value in zip(names, values.unbind(), strict=True)
    }


def move(change: Tensor, reference: Tensor, eps: float) -> Tensor:
    """Boxes (…, 4) from changes (…, 4) in logits and references (…, 2 or 4); a point moves the centre alone."""
    start = inverse_sigmoid(reference, eps)
    if reference.shape[-1] == 4:
        return shares(change + start)
    return shares(torch.cat((change[..., :2] + start, change[..., 2:]), -1))


def check_assigner(assigner: Assigner) -> None:
    """Raise ValueError when queries cannot serve the assigner."""
    missing = sorted(assigner.needs - PROVIDES)
    if missing:
        raise ValueError(f"assigner: needs {', '.join(missing)}, which queries do not provide; try hungarian")


def _with_encoder(outputs: QueryOutputs) -> QueryOutputs:
    """The encoder's predictions as one more layer at the end."""
    return QueryOutputs(
        torch.cat((outputs.logits, outputs.encoder_logits[None])),
        torch.cat((outputs.boxes, outputs.encoder_boxes[None])),
    )

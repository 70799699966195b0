"""Queries as samples: what a query detector predicts in all its layers, stacked for an assigner, and its losses by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from itertools import chain
from operator import add
from typing import Any

import torch
from torch import Tensor

from .assigner import Assigner
from .boxes import center, sides
from .denoising import DenoisingQueries, KnownPairs
from .needs import required
from .structures import Predictions, Targets

PRIOR_SCALE = 8.0  # side of a query's box in strides, where no feature map tells its stride: ATSS's anchors, inverted


@dataclass(frozen=True)
class QueryOutputs:
    """What a query detector predicts of one batch; boxes are cx, cy, w, h, shares of each image.

    Attributes:
        logits: (L, B, Q, C), one entry per decoder layer.
        boxes: (L, B, Q, 4).
        references: L tensors (B, Q, 2 or 4) that the boxes started from, or None.
        denoising: queries among them, the first ones, whose match is known; None at inference.
        objectness: (L, B, Q) logits of a second, class-free output, or None.
        strides: (B, Q') pixels per cell of the feature map that each query but those of denoising came from, or None.
        encoder: the encoder's proposals that are trained, one layer of N samples; or None.
        final: the layer that is the detector's answer; None is the last.
        valid: (L, B, Q) bool, the queries that are trained and detect in each layer; None where all do.
        extra: what training adds to the queries, by name; empty at inference.
    """

    logits: Tensor
    boxes: Tensor
    references: tuple[Tensor, ...] | None = None
    denoising: DenoisingQueries | None = None
    objectness: Tensor | None = None
    strides: Tensor | None = None
    encoder: QueryOutputs | None = None
    final: int | None = None
    valid: Tensor | None = None
    extra: Mapping[str, ExtraOutputs] = field(default_factory=dict)

    def split(self) -> tuple[QueryOutputs, QueryOutputs]:
        """The denoising queries' part, and the rest without it."""
        count = 0 if self.denoising is None else self.denoising.boxes.shape[1]
        noised = replace(self._queries(slice(count)), valid=None)
        own = self._queries(slice(count, None))
        return noised, replace(own, strides=self.strides, encoder=self.encoder, extra=self.extra)

    def _queries(self, part: slice) -> QueryOutputs:
        return QueryOutputs(
            self.logits[:, :, part],
            self.boxes[:, :, part],
            self.references and tuple(reference[:, part] for reference in self.references),
            objectness=None if self.objectness is None else self.objectness[:, :, part],
            valid=None if self.valid is None else self.valid[:, :, part],
        )

    def apart(self, groups: int) -> QueryOutputs:
        """Groups of equal size, one behind the other, as images of their own: (L, groups * B, ...), all of the first, then …"""
        if groups == 1:
            return self

        def images(values: Tensor, at: int) -> Tensor:
            return values.unflatten(at + 1, (groups, -1)).transpose(at, at + 1).flatten(at, at + 1)

        layered = {name: getattr(self, name) for name in ("logits", "boxes", "objectness")}
        parts: dict[str, Any] = {n: None if values is None else images(values, 1) for n, values in layered.items()}
        parts["references"] = self.references and tuple(images(reference, 0) for reference in self.references)
        return replace(self, **parts, strides=None if self.strides is None else images(self.strides, 0))

    def with_encoder(self) -> QueryOutputs:
        """The encoder's predictions as one more layer at the end."""
        encoder = required("encoder", self.encoder)
        if self.valid is not None:
            encoder = replace(encoder, valid=torch.ones_like(encoder.logits[..., 0], dtype=torch.bool))
        return replace(joined((self, encoder)), strides=self.strides, final=len(self.logits) - 1)


@dataclass(frozen=True)
class ExtraOutputs:
    """What training adds to a detector's queries, and what it is to learn.

    Attributes:
        outputs: of G * Q queries; with those of encoder parts of their own, if they have some, of G * B images.
        targets: what they are to find.
        assigner: their own, or None for the decoder's.
        known: pairs that are known by construction, or None where the assigner matches.
        groups: G, consecutive and equally many queries each; every group is matched by itself, as images of its own.
        weight: of the losses.
        weight_of_own: of the losses of the detector's own queries, encoder included, from now on.
        losses: further ones, whose names end in the extra's as well.
    """

    outputs: QueryOutputs
    targets: Targets
    assigner: Assigner | None = None
    known: KnownPairs | None = None
    groups: int = 1
    weight: float = 1.0
    weight_of_own: float = 1.0
    losses: Mapping[str, Tensor] = field(default_factory=dict)


def joined(parts: Sequence[QueryOutputs]) -> QueryOutputs:
    """Outputs of the same number of queries, layer behind layer."""
    values: dict[str, Any] = {}
    for name in ("logits", "boxes", "objectness", "valid"):
        found = [getattr(part, name) for part in parts]
        values[name] = None if found[0] is None else torch.cat(found)
    if parts[0].references is not None:
        values["references"] = tuple(chain(*(required("references", part.references) for part in parts)))
    return QueryOutputs(**values)


def stacked_predictions(outputs: QueryOutputs, targets: Targets, geometry: bool = False) -> Predictions:
    """Decoder layers stacked along the batch, (L * B, Q, …), boxes xyxy in pixels; with `geometry` points and the like."""
    sizes = required("sizes", targets.sizes)
    boxes = pixel_boxes(outputs.boxes, sizes)
    places: dict[str, Any] = query_geometry(outputs, boxes.detach(), sizes) if geometry else {}
    return Predictions(
        outputs.logits.flatten(0, 1),
        boxes.flatten(0, 1),
        None if outputs.objectness is None else outputs.objectness.flatten(0, 1),
        valid=None if outputs.valid is None else outputs.valid.flatten(0, 1),
        **places,
        groups=len(outputs.logits),
        final=outputs.final,
    )


def query_geometry(outputs: QueryOutputs, boxes: Tensor, sizes: Tensor) -> dict[str, Tensor]:
    """Points (L * B, Q, 2), strides (L * B, Q) and priors (L * B, Q, 4) of queries, pixels.

    A query's prior box is the reference it starts from, or its predicted box where that is a point or nothing; its point is the
    reference or that box's centre; its stride that of the feature map it came from, or an eighth of the box's side.

    Args:
        outputs: of L layers.
        boxes: (L, B, Q, 4) xyxy, pixels; what they predict.
        sizes: (B, 2) width and height of the images, pixels.
    """
    priors, points = boxes, center(boxes)
    if outputs.references is not None:
        started = [reference.detach() for reference in outputs.references]
        priors = torch.stack(
            [pixel_boxes(r, sizes) if r.shape[-1] == 4 else own for r, own in zip(started, boxes, strict=True)]
        )
        points = torch.stack([reference[..., :2] for reference in started]).to(boxes) * sizes.to(boxes)[:, None]
    strides = sides(priors).clamp(min=0).prod(-1).sqrt() / PRIOR_SCALE
    if outputs.strides is not None:
        strides = outputs.strides.to(boxes).expand_as(strides)
    geometry = {"points": points, "strides": strides.clamp(min=1.0), "priors": priors}
    return {name: values.flatten(0, 1) for name, values in geometry.items()}


def last_predictions(outputs: QueryOutputs, sizes: Tensor) -> Predictions:
    """What the last decoder layer says, boxes xyxy in pixels of images of `sizes` (B, 2) width and height."""
    objectness, valid = (None if each is None else each[-1] for each in (outputs.objectness, outputs.valid))
    return Predictions(outputs.logits[-1], pixel_boxes(outputs.boxes[-1], sizes), objectness, valid=valid)


def pixel_boxes(boxes: Tensor, sizes: Tensor) -> Tensor:
    """(…, B, N, 4) cx, cy, w, h, shares of the image -> xyxy, pixels; sizes (B, 2) width, height."""
    wide = boxes.to(torch.promote_types(boxes.dtype, torch.float32))
    centers, half = wide[..., :2], wide[..., 2:] / 2
    return torch.cat((centers - half, centers + half), -1) * sizes.to(wide).repeat(1, 2)[:, None]


def layer_names(layers: int) -> list[str]:
    """Endings of the losses of decoder layers: _0, _1, … and none for the last.

    >>> layer_names(3)
    ['_0', '_1', '']
    """
    return [*(f"_{index}" for index in range(layers - 1)), ""]


def named(terms: dict[str, Tensor], names: list[str]) -> dict[str, Tensor]:
    """One scalar per term and group: terms (G,) and G endings; both signs of the class loss are added up."""
    terms = dict(terms)
    signs = [terms.pop(name) for name in ("loss_cls_pos", "loss_cls_neg") if name in terms]
    terms = {"loss_cls": reduce(add, signs), **terms}
    return {
        f"{key}{name}": value
        for key, values in terms.items()
        for name, value in zip(names, values.unbind(), strict=True)
    }

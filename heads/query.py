"""The query head: class and box of every query after every decoder layer, and what they are trained on.

DETR (arXiv 2005.12872) and its descendants. All decoder layers are predicted, assigned and trained in one pass: they are
stacked along the batch axis (`Predictions.groups`).
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..assigners import Assigner, Assignment, Matches, Predictions, Targets
from ..assigners.description import constants
from ..assigners.queries import (
    ExtraOutputs,
    QueryOutputs,
    joined,
    last_predictions,
    layer_names,
    named,
    pixel_boxes,
    query_geometry,
    stacked_predictions,
)
from .columns import Columns, check_columns, make_classifier
from .mlp import MLP
from .outputs import assigners_of
from .reference import inverse_sigmoid, shares
from .streams import Streams
from .wide import WideLinear

__all__ = [
    "GEOMETRY",
    "OUTPUTS",
    "PROVIDES",
    "Columns",
    "ExtraOutputs",
    "ProposalHead",
    "QueryHead",
    "QueryOutputs",
    "check_assigner",
    "check_columns",
    "joined",
    "last_predictions",
    "layer_names",
    "make_classifier",
    "move",
    "named",
    "pixel_boxes",
    "query_geometry",
    "stacked_predictions",
]
GEOMETRY = frozenset({"points", "strides", "priors", "level_sizes"})
PROVIDES = frozenset({"logits", "boxes", "objectness"}) | GEOMETRY
OUTPUTS = ("encoder", "denoising")


class ProposalHead(nn.Module):
    """Class and box of every token of an encoder: the part of a query head that proposes.

    Args:
        classes: token -> `columns`; None where there is no such part.
        box: token -> 4.
        columns: of the classifier.
    """

    def __init__(self, classes: nn.Linear | None, box: nn.Module | None, columns: Columns) -> None:
        super().__init__()
        self.encoder_class, self.encoder_box, self.encoder_columns = classes, box, columns

    def again(self) -> ProposalHead:
        """A copy of this part."""
        return ProposalHead(*copy.deepcopy((self.encoder_class, self.encoder_box)), self.encoder_columns)

    def encoder_predictions(self, tokens: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """Class logits (B, S, C) and box logits (B, S, 4) from tokens (B, S, C) and proposals (B, S, 4), logits."""
        if self.encoder_class is None or self.encoder_box is None:
            raise ValueError("encoder: this head has no part for the encoder's proposals, which the queries need")
        return self.encoder_class(tokens), self.encoder_box(tokens) + places

    def ranking(self, logits: Tensor) -> Tensor:
        """(B, S, C) what orders tokens as the probabilities of the classes do, from their logits."""
        return self.encoder_columns.ranking(logits)

    def encoder_outputs(self, logits: Tensor, boxes: Tensor, places: Tensor, strides: Tensor) -> QueryOutputs:
        """Trained proposals, logits (B, N, columns), boxes and places (B, N, 4), strides (B, N), as one layer."""
        logits, objectness = self.encoder_columns.split(logits[None])
        return QueryOutputs(logits, boxes[None], (places,), objectness=objectness, strides=strides)


class QueryHead(ProposalHead):
    """Class and box of every query under any assigner.

    A query's prior box is the reference it starts from, or its predicted box where that is a point or nothing; its point is
    the reference or that box's centre; its stride that of the feature map it came from, or an eighth of the box's side.
    Where an assigner asks for objectness, every query has an output for it.

    Args:
        num_classes: C.
        assigner: an `Assigner`, or what `detassign.assigners.build` takes. A dict may have assigners of the outputs
            "encoder" and "denoising" besides ({"type": "hungarian", "encoder": "atss"}); else they have the same.
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
        home: the detector's usual assigner; parts by name take from it what they leave open.

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
        home: str | dict[str, Any] = "hungarian",
    ) -> None:
        if encoder not in (None, "binary", "classes"):
            raise ValueError(f"encoder: expected None, 'binary' or 'classes', got {encoder!r}")
        numbers = Streams()
        with numbers.of("assigner"):
            own, others = assigners_of(assigner, OUTPUTS, num_classes, home)
        columns, encoder_columns = (Columns.of(each, num_classes) for each in (own, others.get("encoder", own)))
        super().__init__(None, None, encoder_columns)
        self.num_classes, self.encoder, self.home = num_classes, encoder, home
        self.eps, self.refine_eps = eps, eps if refine_eps is None else refine_eps
        self.columns, self.assigner, self.assigners = columns, own, nn.ModuleDict(others)
        for each in (own, *others.values()):
            check_assigner(each)
        check_columns("denoising", self.assigner_of("denoising"), own)
        if class_prior is not None and not 0 < class_prior < 1:
            raise ValueError(f"class_prior: expected a probability between 0 and 1, or None, got {class_prior!r}")
        count = 1 if shared else layers
        with numbers.of("classes"):
            classifier = make_classifier(channels, self.columns, class_prior)
        with numbers.of("boxes"):
            box = MLP(channels, channels, channels, 4, last=WideLinear)
        if zero_boxes:
            *_, weight, bias = box.parameters()  # of the last layer
            nn.init.zeros_(weight)
            nn.init.zeros_(bias)
        self.classes = nn.ModuleList(copy.deepcopy(classifier) for _ in range(count))
        self.boxes = nn.ModuleList(copy.deepcopy(box) for _ in range(count))
        same = self.encoder_columns == self.columns
        with numbers.of("classes"):
            encoder_class = classifier if same else make_classifier(channels, self.encoder_columns, class_prior)
        self.encoder_class = copy.deepcopy(encoder_class) if encoder else None
        self.encoder_box = copy.deepcopy(box) if encoder else None
        *_, bias = self.boxes[0].parameters()
        with torch.no_grad():
            bias[2:] += size_bias

    extra_repr = constants

    def assigner_of(self, output: str) -> Assigner:
        """The assigner of an output: its own, or that of the decoder."""
        return getattr(self.assigners, output, self.assigner)

    def refine(self, layer: int, states: Tensor, reference: Tensor) -> Tensor:
        """(B, Q, 4) boxes, shares of the image, from states (B, Q, C) and references (B, Q, 2 or 4)."""
        return move(self.boxes[layer % len(self.boxes)](states), reference, self.refine_eps)

    @torch.no_grad()
    def best_class(self, layer: int, states: Tensor) -> Tensor:
        """(B, Q) what orders queries as the probability of their best class does, from states (B, Q, C)."""
        return self.columns.ranking(self.classes[layer % len(self.classes)](states)).amax(-1)

    def networks_again(self) -> QueryHead:
        """The decoder's networks copied, without assigners, for queries that share none with this head's."""
        twin = copy.copy(self)
        twin._modules = copy.deepcopy({"classes": self.classes, "boxes": self.boxes})
        return twin

    def forward(self, states: Tensor, references: tuple[Tensor, ...] | None, boxes: Tensor | None) -> QueryOutputs:
        """Predictions of all layers.

        Args:
            states: (L, B, Q, C).
            references: L tensors (B, Q, 2 or 4), shares of the image, that boxes start from; None without any.
            boxes: (L, B, Q, 4) where the decoder predicted them already, else None.
        """
        if boxes is None:
            boxes = self._boxes(states, references)
        logits, objectness = self.columns.split(self._per_layer(self.classes, states))
        return QueryOutputs(logits, boxes, references, objectness=objectness)

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
        """The assignment of all decoder layers, stacked, and every loss; see `assign_all_and_loss`."""
        assignments, losses = self.assign_all_and_loss(outputs, targets)
        return assignments["decoder"], losses

    def assign_all_and_loss(
        self, outputs: QueryOutputs, targets: Targets
    ) -> tuple[dict[str, Assignment], dict[str, Tensor]]:
        """Assignments, of all layers, stacked, by output, and every loss.

        Outputs are "decoder", "dn" for denoising and the names of what else training adds; the encoder's proposals are a
        layer more where they share the decoder's assigner. The keys of losses depend on the detector alone, never on the
        batch: `loss_cls` and the box terms of the last layer, the same with `_0`, `_1`, … for the layers before it, `_enc`
        for the encoder, `_dn`, `_dn_0`, … for denoising, and likewise with the name of everything else that training adds.
        """
        denoising, matching = outputs.split()
        assignment, losses = self._own_losses(matching, targets)
        for extra in outputs.extra.values():
            losses = {name: loss * extra.weight_of_own for name, loss in losses.items()}
        extras, assignments = dict(outputs.extra), {"decoder": assignment}
        if outputs.denoising is not None:
            extras["dn"] = ExtraOutputs(denoising, targets, self.assigner_of("denoising"), outputs.denoising)
        for name, extra in extras.items():
            assignments[name], of_extra = self._extra_losses(name, extra)
            losses |= of_extra
        return assignments, losses

    def asked(self, outputs: QueryOutputs, targets: Targets) -> tuple[Predictions, Targets]:
        """What the decoder's assigner is asked: all layers, without denoising, and the targets of all.

        The encoder's proposals are a layer more, behind the decoder's, where they share its assigner.
        """
        _, own = outputs.split()
        own = own.with_encoder() if self._joint(own) else own
        needed = bool(self.assigner.needs & GEOMETRY)
        return stacked_predictions(own, targets, geometry=needed), targets.repeat(len(own.logits))

    def _joint(self, outputs: QueryOutputs) -> bool:
        """Whether the encoder's proposals share the decoder's assigner."""
        return self.encoder == "classes" and outputs.encoder is not None and "encoder" not in self.assigners

    def _own_losses(self, outputs: QueryOutputs, targets: Targets) -> tuple[Assignment, dict[str, Tensor]]:
        encoder, names = outputs.encoder, layer_names(len(outputs.logits))
        joint = self._joint(outputs)
        if joint:
            outputs, names = outputs.with_encoder(), [*names, "_enc"]
        assignment, terms = self._losses(self.assigner, outputs, targets)
        losses = named(terms, names)
        if encoder is not None and not joint:
            losses |= named(self._encoder_losses(self.assigner_of("encoder"), encoder, targets), ["_enc"])
        return assignment, losses

    def _losses(
        self, assigner: Assigner, outputs: QueryOutputs, targets: Targets, matches: Matches | None = None
    ) -> tuple[Assignment, dict[str, Tensor]]:
        predictions = stacked_predictions(outputs, targets, geometry=bool(assigner.needs & GEOMETRY))
        return assigner.assign_and_loss(predictions, targets.repeat(len(outputs.logits)), matches=matches)

    def _encoder_losses(self, assigner: Assigner, encoder: QueryOutputs, targets: Targets) -> dict[str, Tensor]:
        if self.encoder == "binary":
            targets = replace(targets, labels=torch.zeros_like(targets.labels))
        return self._losses(assigner, encoder, targets)[1]

    def _extra_losses(self, name: str, extra: ExtraOutputs) -> tuple[Assignment, dict[str, Tensor]]:
        """The assignment and the losses of what training adds; their names end in its name and the layer."""
        assigner, outputs, known = extra.assigner or self.assigner, extra.outputs.apart(extra.groups), extra.known
        layers, targets, matches = len(outputs.logits), extra.targets.repeat(extra.groups), None
        if known is not None:
            targets, matches = known.found(targets), known.matches(layers)
        assignment, terms = self._losses(assigner, outputs, targets, matches)
        losses = named(terms, [f"_{name}{layer}" for layer in layer_names(layers)])
        if outputs.encoder is not None:
            terms = self._encoder_losses(extra.assigner or self.assigner_of("encoder"), outputs.encoder, targets)
            losses |= named(terms, [f"_enc_{name}"])
        further = {f"{key}_{name}": loss for key, loss in extra.losses.items()}
        return assignment, {key: loss * extra.weight for key, loss in losses.items()} | further

    def scores(self, predictions: Predictions) -> tuple[Tensor, Tensor | None]:
        """Class scores (B, N, C) and the factor (B, N) that multiplies them after filtering, or None.

        Samples that are not valid have -inf, which passes no threshold.
        """
        scores, factor = self.assigner.inference_scores(predictions)
        if predictions.valid is not None:
            scores = scores.masked_fill(~predictions.valid[..., None], -torch.inf)
        return scores, factor


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

"""An assigner is a matching, a weighting and a score model; with a box loss it is a complete training target."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from .branches import Centerness, Foreground
from .checks import check_count
from .description import describe
from .joining import joined
from .losses import BoxLoss, assignment_losses, box_terms, build_box_loss
from .needs import needs_of
from .normalizers import SteadyNormalizers
from .registry import BRANCHES, MATCHINGS, SCORES, WEIGHTINGS
from .scores import Scores
from .structures import Assignment, Matches, Predictions, Targets
from .waits import USUAL_WAITS, waits_of


class Assigner(nn.Module):
    """Answers which prediction learns which object, and how strongly.

    Args:
        matching: which samples may answer for which target; a matching, a name or a dict with "type".
        weighting: how strongly each pair pulls and each sample pushes; likewise.
        score: how logits become P; likewise.
        box_loss: distance of a box from its target; likewise, or several as {name: coefficient} (see `build_box_loss`); None
            learns classes alone.
        num_classes: C, handed to parts that are kept per class, and what predictions must have; None takes that of a part
            that is kept per class, and without one C is what the predictions have.
        branch: what a second branch of the head learns beside (see `detassign.assigners.branches`); likewise, or None;
            "auto" is centerness where boxes are weighted by it, and foreground where classes learn no background.
        steady: normalisers do not fall below this share of their running mean, so a batch with few objects or none makes
            no spike in the loss; 0 lets them, as all published code does.

    Raises:
        ValueError: when the parts cannot work together, with the reason.

    >>> from detassign.assigners import Predictions, Targets, build
    >>> assigner = build("dw", num_classes=3)
    >>> predictions = Predictions(
    ...     logits=torch.zeros(1, 4, 3, requires_grad=True),
    ...     boxes=torch.tensor([0.0, 0.0, 16.0, 16.0]).expand(1, 4, 4),
    ...     objectness=torch.zeros(1, 4),
    ...     points=torch.tensor([[4.0, 4.0], [12.0, 4.0], [4.0, 12.0], [12.0, 12.0]]),
    ...     strides=torch.full((4,), 8.0),
    ...     level_sizes=(4,),
    ... )
    >>> targets = Targets.from_lists([torch.tensor([[1.0, 1.0, 15.0, 15.0]])], [torch.tensor([2])])
    >>> sorted(assigner.loss(predictions, targets))
    ['loss_box', 'loss_cls_neg', 'loss_cls_pos']
    """

    def __init__(
        self,
        matching: Any,
        weighting: Any,
        score: Any = "sigmoid",
        box_loss: str | dict[str, Any] | BoxLoss | None = "giou",
        num_classes: int | None = None,
        branch: Any = "auto",
        steady: float = 0.0,
    ) -> None:
        super().__init__()
        self.score = SCORES.build(score)
        self.matching = MATCHINGS.build(matching, num_classes=num_classes, score=self.score)
        self.weighting = WEIGHTINGS.build(weighting, num_classes=num_classes)
        self.box_loss = build_box_loss(box_loss)
        self.num_classes = common_classes(num_classes, self.matching, self.weighting)
        self.branch = self._usual_branch() if branch == "auto" else branch and BRANCHES.build(branch)
        self.steady = SteadyNormalizers(steady) if steady else None
        reason = refusal(self.matching, self.weighting, self.score)
        if reason:
            raise ValueError(reason)

    __repr__ = describe
    auxiliary: Assigner | None = None
    """The assigner of a second head on the same features, for those that have one (`TwoHeaded`)."""

    def _usual_branch(self) -> Any:
        if getattr(self.weighting, "background_by_branch", False):
            return Foreground()
        weighted_by_centerness = getattr(self.weighting, "box_weight", None) == "centerness"
        least_side = getattr(self.weighting, "least_side", 0.0)
        return Centerness(least_side=least_side) if weighted_by_centerness and not self.score.uses_objectness else None

    @property
    def needs(self) -> frozenset[str]:
        """Names of the optional parts of `Predictions` that must be there."""
        distances = box_terms(self.box_loss).values()
        return needs_of(self.matching, self.weighting, self.score, self.branch, *distances)

    @property
    def cardinality(self) -> str:
        """one-to-one, one-to-few or one-to-many: whether inference needs NMS."""
        return self.matching.cardinality

    @property
    def waits(self) -> int:
        """At most how often the host waits for a device in a training step: as usual, or as the matching says if more."""
        return max(USUAL_WAITS, waits_of(self.matching))

    @property
    def bins(self) -> int | None:
        """How many bins a distribution of distances is to have, where a box loss is of one."""
        wanted = (getattr(term.part, "bins", None) for term in box_terms(self.box_loss).values())
        return next(filter(None, wanted), None)

    def match(self, predictions: Predictions, targets: Targets) -> Matches:
        """The pairs alone."""
        predictions, targets = self._prepare(predictions, targets)
        with torch.autocast(predictions.logits.device.type, enabled=False):
            return self.matching(predictions, targets)

    def forward(self, predictions: Predictions, targets: Targets, matches: Matches | None = None) -> Assignment:
        """The three weights for one batch, in float32 or wider whatever comes in; targets may be on another device.

        Args:
            predictions: of one batch, or of several stacked in groups.
            targets: of the same images, repeated for every group (`Targets.repeat`).
            matches: the pairs where they are known, as of denoising queries; None lets the matching find them.
        """
        predictions, targets = self._prepare(predictions, targets)
        return self._assign(predictions, targets, matches)[1]

    def loss(self, predictions: Predictions, targets: Targets, matches: Matches | None = None) -> dict[str, Tensor]:
        """The three terms of the loss; their sum is what to minimise. Of predictions in G groups each is (G,)."""
        return self.assign_and_loss(predictions, targets, matches)[1]

    def assign_and_loss(
        self, predictions: Predictions, targets: Targets, matches: Matches | None = None
    ) -> tuple[Assignment, dict[str, Tensor]]:
        """Assignment and loss in one pass, for heads that need both; arguments as of `forward`."""
        predictions, targets = self._prepare(predictions, targets)
        scores, assignment = self._assign(predictions, targets, matches)
        with torch.autocast(predictions.logits.device.type, enabled=False):
            losses = assignment_losses(predictions, targets, scores, assignment, self.box_loss)
            if self.branch is not None and predictions.objectness is not None:
                losses[f"loss_{self.branch.name}"] = self.branch(predictions, targets, assignment)
            return assignment, losses

    def inference_scores(self, predictions: Predictions) -> tuple[Tensor, Tensor | None]:
        """Class scores (B, N, C), and the factor (B, N) that multiplies them once they are filtered, or None."""
        predictions = predictions.at_least_float32()
        probability = self.score(predictions).probability
        if self.branch is None or predictions.objectness is None:
            return probability, None
        return probability**self.branch.power, predictions.objectness.sigmoid() ** self.branch.power

    @torch.no_grad()
    def pair_scores(self, predictions: Predictions, matches: Matches, labels: Tensor) -> Tensor:
        """(P,) inference's score, factor included, of each pair's sample for the class that is given for it, labels (P,)."""
        predictions = predictions.at_least_float32()
        present = self.score(predictions).log_present(matches, labels).exp().nan_to_num(nan=0.0)
        if self.branch is None or predictions.objectness is None:
            return present
        return (present * predictions.objectness[matches.image, matches.sample].sigmoid()) ** self.branch.power

    def _assign(self, predictions: Predictions, targets: Targets, matches: Matches | None) -> tuple[Scores, Assignment]:
        with torch.autocast(predictions.logits.device.type, enabled=False):
            pairs: Matches = self.matching(predictions, targets) if matches is None else matches
            scores = self.score(predictions)
            assignment = sparing(self._weighed(predictions, targets, pairs, scores), targets)
            if self.steady is not None:
                steadied = self.steady(assignment.normalizers, self.training)
                assignment = replace(assignment, negative=assignment.pushes, normalizers=steadied)
            return scores, assignment

    def _weighed(self, predictions: Predictions, targets: Targets, matches: Matches, scores: Scores) -> Assignment:
        """What the weighting makes of the pairs; where those of boxes are others, of both. A bag holds classes with boxes."""
        assignment = self.weighting(predictions, targets, matches, scores)
        if matches.of_boxes is None or assignment.bag is not None:
            return assignment
        boxes = self.weighting(predictions, targets, matches.of_boxes, scores)
        return joined(assignment, boxes, predictions, targets)

    def _prepare(self, predictions: Predictions, targets: Targets) -> tuple[Predictions, Targets]:
        """Both checked, on one device and in one floating type, float32 or wider."""
        self._check(predictions, targets)
        predictions = predictions.at_least_float32()
        return predictions, targets.to(predictions.boxes.device, predictions.boxes.dtype)

    def _check(self, predictions: Predictions, targets: Targets) -> None:
        missing = sorted(self.needs - predictions.provides)
        if missing:
            raise ValueError(f"predictions: this assigner needs {', '.join(missing)}, which the head does not provide")
        if len(predictions.logits) != len(targets.boxes):
            raise ValueError(f"targets: expected {len(predictions.logits)} images, got {len(targets.boxes)}")
        targets.check_labels(self._check_columns(predictions.logits.shape[-1]))
        targets.check_boxes()

    def _check_columns(self, columns: int) -> int:
        """C, from the columns of the logits, which must be the assigner's where it knows their number."""
        background = int(self.score.background_column)
        expected = columns if self.num_classes is None else self.num_classes + background
        if columns != expected:
            wanted = f"{self.num_classes} classes{' and the background' * background}"
            raise ValueError(f"logits: expected {expected} columns for {wanted}, got {columns}")
        return columns - background


def sparing(assignment: Assignment, targets: Targets) -> Assignment:
    """The assignment without w⁻ on entries that its matches spare."""
    if assignment.matches.spared is None:
        return assignment
    spared = assignment.matches.spared_entries(targets, assignment.pushes.shape)
    return replace(assignment, negative=assignment.pushes.without(spared))


def common_classes(num_classes: int | None, *parts: Any) -> int | None:
    """C, as given or as the parts that are kept per class have it; None where nobody says.

    Raises:
        ValueError: when it is no count, or two differ.
    """
    check_count("num_classes", num_classes, 1)
    for part in parts:
        own = getattr(part, "num_classes", None)
        if None not in (num_classes, own) and own != num_classes:
            raise ValueError(f"num_classes: expected {num_classes} as of the assigner, got {_name(part)} for {own}")
        num_classes = own if num_classes is None else num_classes
    return num_classes


def refusal(matching: Any, weighting: Any, score: Any) -> str | None:
    """Why these parts cannot work together, or None; takes classes or objects."""
    if getattr(weighting, "score_models", None) and _name(score) not in weighting.score_models:
        allowed = " or ".join(weighting.score_models)
        return f"{_name(weighting)} weighting: defined for the score model {allowed}, not for {_name(score)}"
    wanted = getattr(weighting, "cardinalities", None)
    if wanted and matching.cardinality not in wanted:
        allowed = " or ".join(wanted)
        return f"{_name(weighting)} weighting: needs a {allowed} matching, {_name(matching)} is {matching.cardinality}"
    return None


def _name(part: Any) -> str:
    return part.__name__ if isinstance(part, type) else type(part).__name__

"""Best-level matching: of another matching's pairs, each object keeps those of the level that it costs least on (FSAF)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..distances import pair_distances
from ..needs import needs_of
from ..registry import BOX_LOSSES, MATCHINGS, SCORES
from ..structures import Matches, Predictions, Targets
from .focal_losses import focal_losses
from .levels import level_groups
from .spared import parted
from .wrapping import Wrapping


@MATCHINGS.register("best_level")
class BestLevel(Wrapping):
    """Of an object's pairs those of the level where their losses are least on average; on the others its class is spared.

    Online feature selection (FSAF, arXiv 1903.00621, section 3.2): focal loss over all classes, without those that are spared,
    plus the distance of the boxes. The lower level wins a tie, and losses that are not finite lose to all that are. Without
    levels (queries) there is nothing to choose, and all pairs stay.

    Args:
        matching: a matching, its name, or a dict with its "type" and arguments; the centre region unless told.
        alpha, gamma: of the focal loss.
        box_scale: weight of the box distance in the loss.
        box_loss: the box distance; a name, a dict or a callable.
        score: the score model that P comes from; an assigner offers its own, None is a sigmoid.
        num_classes: handed to the inner matching when it is given by name and is kept per class.
    """

    moves_others = True
    """A further object may take cells of another, whose mean on that level is then another."""
    further_waits = 1  # for the pairs that are kept

    def __init__(
        self,
        matching: Any = "center_region",
        alpha: float = 0.25,
        gamma: float = 2.0,
        box_scale: float = 1.0,
        box_loss: Any = "iou_log",
        score: Any = None,
        num_classes: int | None = None,
    ) -> None:
        super().__init__()
        self.matching = MATCHINGS.build(matching, num_classes=num_classes)
        self.alpha = alpha
        self.gamma = gamma
        self.box_scale = box_scale
        self.box_loss = BOX_LOSSES.build(box_loss)
        self.score = SCORES.build("sigmoid" if score is None else score)

    @property
    def needs(self) -> frozenset[str]:
        """What the matching inside, the box distance and the score model need, and levels."""
        return frozenset({"level_sizes"}) | needs_of(self.matching, self.box_loss, self.score)

    @property
    def scale_invariant(self) -> bool:
        """Where the matching inside and the box distance are."""
        return all(getattr(part, "scale_invariant", True) for part in (self.matching, self.box_loss))

    def forward(self, predictions: Predictions, targets: Targets) -> Matches:
        pairs = self.matching(predictions, targets)
        if predictions.level_sizes is None:
            return pairs
        with torch.no_grad():
            group = level_groups(pairs, predictions, targets)
            mean = self.level_losses(pairs, predictions, targets)
            best = mean.argmin(-1).view(-1)[pairs.flat_target(targets)]
            return parted(pairs, group % mean.shape[-1] == best, targets)

    def level_losses(self, pairs: Matches, predictions: Predictions, targets: Targets) -> Tensor:
        """(B, M, levels) mean loss of each object's pairs on each level; infinite where it has none there."""
        loss = focal_losses(self.score(predictions), pairs, targets, self.alpha, self.gamma)
        loss = loss + self.box_scale * pair_distances(self.box_loss, predictions, targets, pairs)
        group = level_groups(pairs, predictions, targets)
        total = loss.new_zeros(*targets.mask.shape, len(predictions.level_sizes or (1,)))
        count = torch.zeros_like(total)
        total.view(-1).index_add_(0, group, loss)
        count.view(-1).index_add_(0, group, torch.ones_like(loss))
        largest = torch.finfo(loss.dtype).max
        mean = (total / count).nan_to_num(nan=largest, posinf=largest)  # of a level with pairs, however large
        return mean.masked_fill(count == 0, torch.inf)

"""Tiny objects: samples by the similarity of boxes that need not overlap, and by rank instead of a threshold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..assigner import Assigner
from ..matching import Ranking, ReceptiveField
from ..registry import ASSIGNERS
from ..weighting import focal


@ASSIGNERS.register("rfla")
def rfla(
    num_classes: int,
    metric: Any = "kl",
    k: int = 3,
    fields: Sequence[float] | None = None,
    fraction: float = 0.5,
    ignore_above: float | None = None,
) -> Assigner:
    """RFLA on FCOS (arXiv 2208.08738): receptive fields most like the object x focal; DIoU weighted by centerness.

    Differs from its code: a sample that several objects take goes to the most similar, not to the last of the list; an object
    takes k samples, not all that share the k-th value; an image's fields do not depend on the images before it.

    Args:
        num_classes: C.
        metric, k, fields, fraction, ignore_above: as of `ReceptiveField`.
    """
    return _rfla(num_classes, ReceptiveField(metric, k, fields=fields, fraction=fraction, ignore_above=ignore_above))


@ASSIGNERS.register("rfla_original")
def rfla_original(
    num_classes: int,
    metric: Any = "kl",
    k: int = 3,
    fields: Sequence[float] | None = None,
    fraction: float = 0.5,
    ignore_above: float | None = None,
    carry_over: bool = False,
) -> Assigner:
    """RFLA as its code computes it: equal values join, the last object of the list wins, so losses depend on their order.

    Args:
        num_classes: C.
        metric, k, fields, fraction, ignore_above: as of `ReceptiveField`.
        carry_over: also let every image with objects leave the fields shrunk for the next one, as the code does by mistake.
    """
    parity = {"ties": "join", "conflict": "last", "carry_over": carry_over}
    choices = {"fields": fields, "fraction": fraction, "ignore_above": ignore_above}
    return _rfla(num_classes, ReceptiveField(metric, k, **choices, **parity))


def _rfla(num_classes: int, matching: ReceptiveField) -> Assigner:
    """A matching under the losses of RFLA's FCOS head."""
    weighting = focal(box_weight="centerness", box_floor=1e-6, least_side=0.01)
    return Assigner(matching, weighting, box_loss="diou", num_classes=num_classes)


@ASSIGNERS.register("nwd_rka")
def nwd_rka(
    num_classes: int,
    metric: Any = "nwd",
    k: int = 3,
    prior_scale: float = 8.0,
    ignore_above: float | None = None,
    box_loss: Any = "giou",
) -> Assigner:
    """NWD with ranking (arXiv 2206.13996) on one square anchor per point: the k most similar x focal; box loss weight 2.

    Differs from its code: a sample that several objects take goes to the most similar, not to the last of the list; an object
    takes k samples, not all that share the k-th value; and what its code ignores above 0.3, though its paper does not say
    so, is background.

    Args:
        num_classes: C.
        metric, k, prior_scale, ignore_above: as of `Ranking`.
        box_loss: such as "nwd", the NWD loss.
    """
    matching = Ranking(metric, k, ignore_above, prior_scale=prior_scale)
    return Assigner(matching, focal(box_scale=2.0), box_loss=box_loss, num_classes=num_classes)


@ASSIGNERS.register("nwd_rka_original")
def nwd_rka_original(
    num_classes: int,
    metric: Any = "nwd",
    k: int = 3,
    prior_scale: float = 8.0,
    ignore_above: float | None = 0.3,
    box_loss: Any = "giou",
) -> Assigner:
    """NWD with ranking as its code computes it: equal values join, the last object wins, similarities from 0.3 are ignored.

    Args:
        num_classes: C.
        metric, k, prior_scale, ignore_above: as of `Ranking`.
        box_loss: such as "nwd", the NWD loss.
    """
    matching = Ranking(metric, k, ignore_above, "join", "last", prior_scale=prior_scale)
    return Assigner(matching, focal(box_scale=2.0), box_loss=box_loss, num_classes=num_classes)

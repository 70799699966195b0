"""`detassign inspect` of dense detectors: what every object gets, in tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .tables import table

if TYPE_CHECKING:
    from ..evidence.inspection.points import Inspection
    from ..evidence.inspection.scene import Scene


def print_tables(scene: Scene, inspections: Sequence[Inspection], origin: str) -> None:
    """A row per object, and one per assigner."""
    heads = ["object", "size", "assigner", "points", "effective", "strides", "Σw⁺", "best IoU"]
    rows = []
    for index, (name, size) in enumerate(scene.objects()):
        shares = [inspection.targets[index] for inspection in inspections]
        cells = zip(*([i.name, *_cells(share)] for i, share in zip(inspections, shares, strict=True)), strict=True)
        rows.append([name, size, *("\n".join(column) for column in cells)])
    height, width = scene.image.shape[:2]
    table(heads, rows, title=f"{scene.name}, {width} x {height}, {origin}")
    heads = ["assigner", "objects", "without a point", "points", "per object", "effective", "Σw⁺", "Σw⁻", "Σw°"]
    table(heads, [[inspection.name, *_total_cells(inspection.totals())] for inspection in inspections])


def _cells(share: Any) -> list[str]:
    from ..evidence.words import three_digits

    best = "-" if share.best_iou is None else f"{share.best_iou:.2f}"
    strides = " ".join(map(str, share.strides)) or "-"
    return [str(share.pairs), f"{share.effective:.1f}", strides, three_digits(share.positive), best]


def _total_cells(total: dict[str, Any]) -> list[str]:
    from ..evidence.words import three_digits

    counts = [str(total[key]) for key in ("targets", "without_positive", "pairs")]
    means = [f"{total[key]:.1f}" for key in ("pairs_per_target", "effective_per_target")]
    return counts + means + [three_digits(total[key]) for key in ("sum_positive", "sum_negative", "sum_box")]

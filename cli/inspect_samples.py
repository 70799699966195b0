"""Tables of what every object gets, sample by sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .tables import table

if TYPE_CHECKING:
    from ..evidence.inspection.samples import Samples
    from ..evidence.inspection.scene import Scene

SHOWN = 4  # samples of an object in a cell


def print_samples(scene: Scene, inspections: Sequence[Samples], origin: str) -> None:
    """A row per object and assigner."""
    rows = []
    for index, (name, size) in enumerate(scene.objects()):
        cells = zip(*(_cells(each, index) for each in inspections), strict=True)
        rows.append([name, size, *("\n".join(column) for column in cells)])
    height, width = scene.image.shape[:2]
    heads = ["object", "size", "assigner", "queries", "effective", "heaviest", "Σw⁺", "best IoU"]
    table(heads, rows, title=f"{scene.name}, {width} x {height}, {origin}; last layer")


def _cells(samples: Samples, index: int) -> list[str]:
    from ..evidence.words import three_digits

    count, effective, _, overlap = samples.share(index)
    if not count:
        return [samples.name, "0", "0.0", "-", "0", "-"]
    weights = samples.weights(index)
    heaviest = ", ".join(map(str, list(weights)[:SHOWN])) + (", …" if len(weights) > SHOWN else "")
    total = three_digits(sum(weights.values()))
    return [samples.name, str(count), f"{effective:.1f}", heaviest, total, f"{overlap:.2f}"]

"""`detassign inspect --outputs`: which queries of every output learn an object, in a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .tables import say, table

if TYPE_CHECKING:
    from ..evidence.inspection.outputs import OutputInspection
    from ..evidence.inspection.scene import Scene

SHOWN = 4  # queries of an object in a cell


def print_tables(scene: Scene, inspections: Sequence[OutputInspection], origin: str) -> None:
    """A row per object, a column per output: how many queries learn it, which, and their mean IoU."""
    rows = [
        [name, size, *(_cell(inspection.target(index)) for inspection in inspections)]
        for index, (name, size) in enumerate(scene.objects())
    ]
    height, width = scene.image.shape[:2]
    heads = ["object", "size", *(f"{each.name} ({each.queries})" for each in inspections)]
    table(heads, rows, title=f"{scene.name}, {width} x {height}, {origin}; last layer")
    say(
        "In brackets the queries of an output; of an object how many learn it, which, the heaviest first, and their mean IoU."
    )


def _cell(learners: list[dict[str, Any]]) -> str:
    if not learners:
        return "-"
    named = ", ".join(str(each["query"]) for each in learners[:SHOWN]) + (", …" if len(learners) > SHOWN else "")
    mean = sum(each["iou"] for each in learners) / len(learners)
    return f"{len(learners)}: {named}\nIoU {mean:.2f}"

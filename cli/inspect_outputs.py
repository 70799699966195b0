"""`detassign inspect --outputs`: what every output of a query detector's training learns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .tables import say, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..evidence.inspection.outputs import OutputInspection
    from ..evidence.inspection.scene import Scene

SHOWN = 4  # queries of an object in a cell


def inspections_of(
    specs: Sequence[Any] | None, config: Mapping[str, Any], checkpoint: Path, scene: Scene, seed: int
) -> list[OutputInspection]:
    """The run's outputs under its own assigners; noise of denoising is drawn from the seed."""
    import torch

    from ..engine.scenes import load_model, predict_scene_in_training
    from ..evidence.inspection.outputs import inspect_outputs

    if specs:
        raise ValueError("--assigners: outputs are shown under the run's own; leave it out, or --outputs")
    torch.manual_seed(seed)
    model = load_model(config, checkpoint)
    return inspect_outputs(model.bbox_head, predict_scene_in_training(model, scene), scene.targets)


def draw(scene: Scene, inspections: Sequence[OutputInspection], subtitle: str) -> Figure:
    """The picture."""
    from ..evidence.drawing.outputs import draw

    return draw(scene, inspections, subtitle)


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

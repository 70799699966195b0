"""`detassign inspect` of dense detectors: the weights of every sample point."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .tables import table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..assigners import Assigner, Predictions
    from ..evidence.inspection.points import Inspection
    from ..evidence.inspection.scene import Scene

    Seen = Callable[[Assigner], Predictions]

ASSIGNERS = ("fcos", "atss", "dw")


def usual(config: Mapping[str, Any]) -> Sequence[Any]:
    """The assigners that are shown unless others are named."""
    return ASSIGNERS


def own(config: Mapping[str, Any]) -> Sequence[Any]:
    """The run's assigner."""
    return [config["model"]["head"]["assigner"]]


def seeing(config: Mapping[str, Any], checkpoint: Path | None, seed: int) -> Callable[[Scene], Seen]:
    """From an image to what each assigner sees of it: the run's predictions, or simulated ones."""
    from ..assigners import SigmoidObjectness
    from ..engine.scenes import load_model, predict_scene
    from ..evidence.inspection.simulation import simulate
    from ..evidence.inspection.subjects import translate

    model = checkpoint and load_model(config, checkpoint)
    score = model.bbox_head.assigner.score if model else SigmoidObjectness()

    def see(scene: Scene) -> Seen:
        if model:
            predictions = predict_scene(model, scene)
        else:
            strides, shape = config["model"]["head"]["strides"], scene.image.shape[:2]
            predictions = simulate(scene.targets, shape, strides, len(scene.classes), seed)
        return lambda assigner: translate(predictions, score, assigner.score)

    return see


def inspections_of(
    specs: Sequence[Any] | None, config: Mapping[str, Any], checkpoint: Path | None, scene: Scene, seed: int
) -> list[Inspection]:
    """Every assigner on the run's predictions, or on simulated ones."""
    from ..evidence.inspection.points import inspect
    from ..evidence.inspection.subjects import at_the_end

    built = at_the_end(specs or usual(config), len(scene.classes))
    seen = seeing(config, checkpoint, seed)(scene)
    return [inspect(name, assigner, seen(assigner), scene.targets) for name, assigner in built.items()]


def draw(scene: Scene, inspections: Sequence[Inspection], subtitle: str) -> Figure:
    """The picture."""
    from ..evidence.drawing.points import draw

    return draw(scene, inspections, subtitle)


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

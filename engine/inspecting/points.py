"""Dense detectors: the weights of every sample point."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ...assigners import Assigner, Predictions
    from ...evidence.inspection.points import Inspection
    from ...evidence.inspection.scene import Scene

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
    from ...assigners import SigmoidObjectness
    from ...evidence.inspection.simulation import simulate
    from ...evidence.inspection.subjects import translate
    from ..scenes import load_model, predict_scene

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
    from ...evidence.inspection.points import inspect
    from ...evidence.inspection.subjects import at_the_end

    built = at_the_end(specs or usual(config), len(scene.classes))
    seen = seeing(config, checkpoint, seed)(scene)
    return [inspect(name, assigner, seen(assigner), scene.targets) for name, assigner in built.items()]


def draw(scene: Scene, inspections: Sequence[Inspection], subtitle: str) -> Figure:
    """The picture."""
    from ...evidence.drawing.points import draw

    return draw(scene, inspections, subtitle)

"""Query detectors: matches, layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ...assigners import Assigner, Predictions
    from ...evidence.inspection.queries import QueryInspection
    from ...evidence.inspection.samples import Samples
    from ...evidence.inspection.scene import Scene

    Seen = Callable[[Assigner], Predictions]


def usual(config: Mapping[str, Any]) -> Sequence[Any]:
    """The assigners that are shown unless others are named: the run's own."""
    return own(config)


def own(config: Mapping[str, Any]) -> Sequence[Any]:
    """The run's assigner, that of its decoder."""
    from ...heads.query import OUTPUTS

    spec = config["model"]["head"]["assigner"]
    if not isinstance(spec, Mapping):
        return [spec]
    return [{key: value for key, value in spec.items() if key not in OUTPUTS}]


def seeing(config: Mapping[str, Any], checkpoint: Path, seed: int) -> Callable[[Scene], Seen]:
    """From an image to what each assigner sees of it: the queries of all layers; the seed changes nothing."""
    from ...evidence.inspection.queries import predictions_of
    from ..scenes import load_model, predict_scene_queries

    model = load_model(config, checkpoint)

    def see(scene: Scene) -> Seen:
        outputs = predict_scene_queries(model, scene)
        return lambda assigner: predictions_of(outputs, model.bbox_head.assigner.score, assigner, scene.targets)

    return see


def inspections_of(
    specs: Sequence[Any] | None, config: Mapping[str, Any], checkpoint: Path, scene: Scene, seed: int
) -> list[QueryInspection] | list[Samples]:
    """Every assigner, or the run's own, on the run's predictions; the seed changes nothing.

    Matches are followed through the layers where each assigner gives every object one query; else it is shown what the
    queries of the last layer learn.
    """
    from ...evidence.inspection.queries import inspect_queries, query_samples, why_not_followed
    from ...evidence.inspection.subjects import at_the_end
    from ..scenes import load_model, predict_scene_queries

    built = at_the_end(specs or usual(config), len(scene.classes))
    model = load_model(config, checkpoint)
    outputs, score = predict_scene_queries(model, scene), model.bbox_head.assigner.score
    inspected = query_samples if any(map(why_not_followed, built.values())) else inspect_queries
    return [inspected(name, assigner, outputs, score, scene.targets) for name, assigner in built.items()]


def draw(scene: Scene, inspections: Sequence[QueryInspection] | Sequence[Samples], subtitle: str) -> Figure:
    """The picture."""
    from ...evidence.drawing import outputs, queries
    from ...evidence.inspection.outputs import learnt_by

    if followed(inspections):
        return queries.draw(scene, inspections, subtitle)
    return outputs.draw(scene, [learnt_by(each) for each in inspections], subtitle)


def followed(inspections: Sequence[Any]) -> bool:
    """Whether matches are followed through the layers."""
    from ...evidence.inspection.queries import QueryInspection

    return isinstance(inspections[0], QueryInspection)

"""`detassign inspect` of query detectors: matches, layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .inspect_samples import print_samples
from .tables import table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..assigners import Assigner, Predictions
    from ..evidence.inspection.queries import QueryInspection
    from ..evidence.inspection.samples import Samples
    from ..evidence.inspection.scene import Scene

    Seen = Callable[[Assigner], Predictions]


def usual(config: Mapping[str, Any]) -> Sequence[Any]:
    """The assigners that are shown unless others are named: the run's own."""
    return own(config)


def own(config: Mapping[str, Any]) -> Sequence[Any]:
    """The run's assigner, that of its decoder."""
    from ..heads.query import OUTPUTS

    spec = config["model"]["head"]["assigner"]
    if not isinstance(spec, Mapping):
        return [spec]
    return [{key: value for key, value in spec.items() if key not in OUTPUTS}]


def seeing(config: Mapping[str, Any], checkpoint: Path, seed: int) -> Callable[[Scene], Seen]:
    """From an image to what each assigner sees of it: the queries of all layers; the seed changes nothing."""
    from ..engine.scenes import load_model, predict_scene_queries
    from ..evidence.inspection.queries import predictions_of

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
    from ..engine.scenes import load_model, predict_scene_queries
    from ..evidence.inspection.queries import inspect_queries, query_samples, why_not_followed
    from ..evidence.inspection.subjects import at_the_end

    built = at_the_end(specs or usual(config), len(scene.classes))
    model = load_model(config, checkpoint)
    outputs, score = predict_scene_queries(model, scene), model.bbox_head.assigner.score
    followed = not any(map(why_not_followed, built.values()))
    inspected = inspect_queries if followed else query_samples
    return [inspected(name, assigner, outputs, score, scene.targets) for name, assigner in built.items()]


def draw(scene: Scene, inspections: Sequence[QueryInspection] | Sequence[Samples], subtitle: str) -> Figure:
    """The picture."""
    from ..evidence.drawing import outputs, queries
    from ..evidence.inspection.outputs import learnt_by

    if _followed(inspections):
        return queries.draw(scene, inspections, subtitle)
    return outputs.draw(scene, [learnt_by(each) for each in inspections], subtitle)


def print_tables(scene: Scene, inspections: Sequence[QueryInspection] | Sequence[Samples], origin: str) -> None:
    """Of matches that are followed, or of what learns in the last layer."""
    if _followed(inspections):
        _print_matches(scene, inspections, origin)
    else:
        print_samples(scene, inspections, origin)


def _followed(inspections: Sequence[Any]) -> bool:
    from ..evidence.inspection.queries import QueryInspection

    return isinstance(inspections[0], QueryInspection)


def _print_matches(scene: Scene, inspections: Sequence[QueryInspection], origin: str) -> None:
    """A row per object with its last match, and one per assigner with the means of its layers."""
    terms = list(dict.fromkeys(term for inspection in inspections for term in inspection.costs))
    heads = ["object", "size", "assigner", "queries, layer by layer", "IoU", "P", *terms, "cost", "margin"]
    rows = []
    for index, (name, size) in enumerate(scene.objects()):
        lines = [_match_cells(inspection, inspection.target(index), terms) for inspection in inspections]
        rows.append([name, size, *("\n".join(column) for column in zip(*lines, strict=True))])
    height, width = scene.image.shape[:2]
    table(heads, rows, title=f"{scene.name}, {width} x {height}, {origin}; costs of the last layer")
    heads = [
        "assigner",
        "objects",
        "without a query",
        "never changed",
        "layer",
        "changed",
        "IoU",
        "P",
        "cost",
        "margin",
    ]
    compared = len(inspections) > 1
    if compared:
        heads.append(f"as {inspections[0].name}")
    table(heads, [_layer_cells(inspection, inspections[0] if compared else None) for inspection in inspections])


def _match_cells(inspection: QueryInspection, target: dict[str, Any], terms: Sequence[str]) -> list[str]:
    first, last = target["layers"][0], target["layers"][-1]
    held = [first["query"], *(layer["query"] for layer in target["layers"] if layer["changed"])]
    queries = " → ".join("-" if query is None else str(query) for query in held)
    numbers = [last["iou"], last["score"], *(last["costs"].get(term) for term in terms), last["cost"], last["margin"]]
    return [inspection.name, queries, *map(_decimals, numbers)]


def _layer_cells(inspection: QueryInspection, first: QueryInspection | None) -> list[str]:
    totals = inspection.totals()
    layers = totals["layers"]
    columns = [[str(number + 1) for number in range(len(layers))], [str(layer["changed"]) for layer in layers]]
    columns += [[_decimals(layer[key]) for layer in layers] for key in ("iou", "score", "cost", "margin")]
    if first is not None:
        columns.append([f"{agreeing} of {totals['targets']}" for agreeing in inspection.agreement(first).tolist()])
    counts = [str(totals[key]) for key in ("targets", "without_query", "never_changed")]
    return [inspection.name, *counts, *("\n".join(column) for column in columns)]


def _decimals(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"

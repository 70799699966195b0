"""`detassign inspect` of query detectors: matches, layer by layer, in tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..engine.inspecting.queries import followed
from .inspect_samples import print_samples
from .tables import table

if TYPE_CHECKING:
    from ..evidence.inspection.queries import QueryInspection
    from ..evidence.inspection.samples import Samples
    from ..evidence.inspection.scene import Scene


def print_tables(scene: Scene, inspections: Sequence[QueryInspection] | Sequence[Samples], origin: str) -> None:
    """Of matches that are followed, or of what learns in the last layer."""
    if followed(inspections):
        _print_matches(scene, inspections, origin)
    else:
        print_samples(scene, inspections, origin)


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

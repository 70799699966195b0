"""What a page of an inspection holds, in plain values: the image, its objects, and a view per assigner or output."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import to_hex

from ..drawing.canvas import color_of
from ..drawing.points import ROWS, levels_with_any
from ..drawing.points_layout import EXPLANATION as POINTS_SHOWN
from ..drawing.queries_rows import layer_colors
from ..inspection.crops import crops
from ..inspection.outputs import OutputInspection
from ..inspection.points import SPARED, Inspection
from ..inspection.queries import QueryInspection
from ..inspection.samples import Samples
from ..inspection.scene import Scene
from ..words import printable, three_digits
from .page import image_uri

MOST = 60  # samples of an object that are listed, the heaviest
STOPS = 9  # of a colour scale
STRIDE_OF_QUERIES = 8  # pixels: windows around small objects of samples without levels hold as much as on such a level


def content_of(scene: Scene, inspections: Sequence[Any], subtitle: str) -> dict[str, Any]:
    """Everything that the page shows of assignments of one image.

    Args:
        scene: the image and its objects.
        inspections: one per assigner, or per output, all of one kind.
        subtitle: where the predictions come from.

    Raises:
        ValueError: when there is nothing to show.
    """
    if not inspections:
        raise ValueError("inspections: expected at least one, got none")
    kind = next(kind for kind in KINDS if isinstance(inspections[0], kind))
    views, further = KINDS[kind](inspections, scene.targets.boxes.shape[1])
    height, width = scene.image.shape[:2]
    boxes = scene.targets.boxes[0].tolist()
    stride = min(further.get("strides") or [STRIDE_OF_QUERIES])
    windows = crops(boxes, (width, height), stride)
    ignored = scene.targets.ignore_boxes
    return {
        "title": scene.name,
        "subtitle": printable(subtitle),
        "width": width,
        "height": height,
        "image": image_uri(scene.image),
        "objects": [
            {"name": printable(scene.classes[label]), "label": label, "color": color_of(label), "box": box}
            for label, box in zip(scene.targets.labels[0].tolist(), boxes, strict=True)
        ],
        "classes": [printable(name) for name in scene.classes],
        "ignored": [] if ignored is None else ignored[0].tolist(),
        "cell": stride,
        "crops": [{"box": crop.box, "targets": crop.targets, "zoom": crop.zoom} for crop in windows],
        **further,
        "views": rounded(views),
    }


def rounded(value: Any) -> Any:
    """A value with all its numbers in five digits, None for those that are not finite.

    >>> rounded({"iou": 0.123456, "box": [1234567.0, float("nan")], "sample": 7})
    {'iou': 0.12346, 'box': [1234600.0, None], 'sample': 7}
    """
    if isinstance(value, float):
        return float(f"{value:.5g}") if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: rounded(inner) for key, inner in value.items()}
    return [rounded(inner) for inner in value] if isinstance(value, list | tuple) else value


def _object(samples: Samples, index: int) -> dict[str, Any]:
    """One object's samples, and what they amount to."""
    count, effective, best, overlap = samples.share(index)
    return {
        "count": len(samples.of(index)),
        "positives": count,
        "effective": effective,
        "best_share": best,
        "best_iou": overlap,
        "samples": samples.target(index, MOST),
    }


def _points(inspections: Sequence[Inspection], objects: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    levels, strides = levels_with_any(inspections), inspections[0].strides
    further = {
        "kind": "points",
        "explanation": list(POINTS_SHOWN),
        "strides": [strides[level] for level in levels],
        "folded": [stride for level, stride in enumerate(strides) if level not in levels],
        "weights": [
            {
                "name": kind.attribute,
                "sign": kind.sign,
                "top": kind.top(inspections),
                "is_share": kind.is_share,
                "colors": [to_hex(kind.colors(place)) for place in np.linspace(0, 1, STOPS)],
                "opacity": kind.opacity,
            }
            for kind in ROWS
        ],
    }
    return [_points_view(inspection, levels, objects) for inspection in inspections], further


def _points_view(inspection: Inspection, levels: Sequence[int], objects: int) -> dict[str, Any]:
    total = inspection.totals()
    facts = {
        "objects": total["targets"],
        "without a point": total["without_positive"],
        "points": total["pairs"],
        "per object": f"{total['pairs_per_target']:.1f}",
        "as of equal w⁺": f"{total['effective_per_target']:.1f}",
        **{f"Σ{kind.sign}": three_digits(value) for kind, value in zip(ROWS, inspection.sums, strict=True)},
    }
    return {
        "name": printable(inspection.name),
        "facts": facts,
        "maps": [_map(inspection, level) for level in levels],
        "objects": [_object(inspection.samples, index) for index in range(objects)],
    }


def _map(inspection: Inspection, level: int) -> dict[str, Any]:
    """A level's cells that have something to see, as [cell, value], cells counted by rows."""
    found: dict[str, Any] = {
        "stride": inspection.strides[level],
        "columns": inspection.positive[level].shape[1],
    }
    for kind in ROWS:
        values = getattr(inspection, kind.attribute)[level].ravel()
        seen = np.abs(values - 1) > 1 - SPARED if kind.is_share else values > 0
        found[kind.attribute] = [[int(cell), float(values[cell])] for cell in np.flatnonzero(seen)]
    return found


def _queries(inspections: Sequence[QueryInspection], objects: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    layers = inspections[0].layers
    further = {
        "kind": "queries",
        "explanation": [
            "The way of its query: from its first reference (ring) through the centres of its boxes, a colour per layer.",
            "Tables: what the last layer's query weighs, which query every layer matches, and what the match costs, term by "
            "term; margin is how much more the next best query costs, below 0 where another object has it.",
        ],
        "layer_colors": [to_hex(color) for color in layer_colors(layers)],
    }
    return [_queries_view(inspection, objects) for inspection in inspections], further


def _queries_view(inspection: QueryInspection, objects: int) -> dict[str, Any]:
    total = inspection.totals()
    facts = {name: total[key] for name, key in QUERY_FACTS.items()}
    return {
        "name": printable(inspection.name),
        "facts": facts,
        "objects": [_followed(inspection, index) for index in range(objects)],
    }


def _followed(inspection: QueryInspection, index: int) -> dict[str, Any]:
    """One object's samples in the last layer, and the way of its query."""
    plain = inspection.target(index)
    start = plain["references"] and plain["references"][0]
    own = {"layers": plain["layers"], "boxes": plain["boxes"], "start": start and start[:2]}
    return {**_object(inspection.samples, index), **own}


def _samples(inspections: Sequence[Samples], objects: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    views = [
        {
            "name": printable(each.name),
            "facts": {"objects": objects, "samples": each.count, "pairs": len(each.sample)},
            "objects": [_object(each, index) for index in range(objects)],
        }
        for each in inspections
    ]
    return views, {"kind": "samples", "explanation": ["The queries of the last layer that learn an object."]}


def _outputs(inspections: Sequence[OutputInspection], objects: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    return [_outputs_view(each, objects) for each in inspections], {
        "kind": "outputs",
        "explanation": [
            "What the queries of every output predict that learn an object in the last layer; weight is w⁺ as a share of the "
            "object's heaviest.",
            "Denoising: dashed, the noised boxes that queries start from, those of the first group stronger; green are to find "
            "the object (+), red, made farther from it, to find nothing (−). A row of the table shows where its query ends.",
        ],
    }


def _outputs_view(inspection: OutputInspection, objects: int) -> dict[str, Any]:
    total = inspection.totals()
    return {
        "name": printable(inspection.name),
        "facts": {"queries": total["queries"], "pairs": total["pairs"], "objects that learn": total["objects"]},
        "objects": [
            {
                "count": int((inspection.learnt == index).sum()),
                "samples": inspection.target(index)[:MOST],
                **({} if inspection.noise is None else {"noise": inspection.noise.target(index, MOST)}),
            }
            for index in range(objects)
        ],
    }


QUERY_FACTS = {
    "objects": "targets",
    "queries": "queries",
    "without a query": "without_query",
    "never changed": "never_changed",
}
KINDS = {Inspection: _points, QueryInspection: _queries, Samples: _samples, OutputInspection: _outputs}

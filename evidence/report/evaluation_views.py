"""What an evaluation's report shows: its curves, charts, tables and sentences, however they are drawn."""

from __future__ import annotations

import numpy as np

from ..evaluation.accuracy import AVERAGE_PRECISIONS, AVERAGE_RECALLS, RECALLS
from ..evaluation.analysis import OVERLAP, STEPS, Analysis
from ..evaluation.curves import Best
from ..evaluation.errors import NEAR
from ..words import many, three_digits
from .tables import Table
from .views import PERCENT, Chart, Line, Mark, Panel, Place, Strip

__all__ = ["KINDS", "averages", "charts", "costliest", "kinds", "method", "names", "panels", "sentences", "thresholds"]

MOST_LINES = 8  # classes in a panel, those with the most objects: as many as there are colours
MOST_CLASSES = 40  # in the chart of classes, those of the lowest AP
KINDS = {
    "class": "the box is right, the class is not",
    "place": "the class is right, the box is not",
    "both": "an object is near, class and box are wrong",
    "duplicate": "another detection has found the object",
    "background": "no object is near",
    "missed": "no detection is about the object",
}


def panels(analysis: Analysis) -> dict[str, Panel]:
    """Curves by the name of their file; what has no object has none."""
    ious = {"IoU 0.5": 0.5, "IoU 0.75": 0.75, "mean, 0.5 to 0.95": None}
    over_recall = {name: analysis.accuracy.precision_at_recalls(iou) for name, iou in ious.items()}
    grid = _grid(analysis)
    over_score = dict(zip(("precision", "recall", "F1"), analysis.curves[0].at(grid)[1:], strict=True))
    chosen = _largest(analysis)
    per_class = {_class(analysis, label): analysis.accuracy.precision_at_recalls(OVERLAP, label) for label in chosen}
    f1 = {_class(analysis, label): analysis.curves[label + 1].at(grid).f1 for label in chosen}
    recalls, more = (
        PERCENT * RECALLS,
        f", the {len(chosen)} largest classes" if len(chosen) < _present(analysis) else "",
    )
    found = {
        "precision_recall": _panel("Precision over recall", "recall, %", "precision, %", recalls, over_recall),
        "scores": _panel(f"Over the score, IoU {OVERLAP:g}", "score", "%", grid, over_score),
        "precision_recall_classes": _panel(
            f"Precision over recall, IoU {OVERLAP:g}{more}", "recall, %", "precision, %", recalls, per_class
        ),
        "scores_classes": _panel(f"F1 over the score, IoU {OVERLAP:g}{more}", "score", "F1, %", grid, f1),
    }
    return {name: panel for name, panel in found.items() if panel.lines}


def charts(analysis: Analysis) -> dict[str, Chart]:
    """Values by the name of their file."""
    costs, counts = analysis.costs.kinds, analysis.errors.counts
    rows = {f"{kind}: {_counted(kind, counts[kind])}": cost for kind, cost in costs.items() if cost == cost}
    by_class = {
        name: analysis.accuracy.average_precisions(label)["AP"]
        for label, name in enumerate(analysis.matching.classes)
        if analysis.matching.object_counts[label]
    }
    lowest = sorted(by_class, key=by_class.__getitem__)[:MOST_CLASSES]
    of = f", the {len(lowest)} lowest of {len(by_class)}" if len(lowest) < len(by_class) else ""
    found = {
        "errors": Chart("AP50 that each kind of error costs", "points of AP50", _strips(rows), 1, zero=True),
        "classes": Chart(
            f"AP of each class{of}",
            "AP, %",
            _strips({name: by_class[name] for name in by_class if name in lowest}),
            1,
            limits=(0, 100),
        ),
    }
    return {name: chart for name, chart in found.items() if chart.strips}


def averages(analysis: Analysis) -> Table:
    """AP and AR of all and of each class, in percent."""
    keys = (*AVERAGE_PRECISIONS, *AVERAGE_RECALLS)
    counts = analysis.matching.object_counts.tolist()
    rows = []
    for label, (name, count) in [
        (None, ("all", sum(counts))),
        *enumerate(zip(analysis.matching.classes, counts, strict=True)),
    ]:
        values = {**analysis.accuracy.average_precisions(label), **analysis.accuracy.average_recalls(label)}
        rows.append([name, f"{count:,}", *(percent(values[key]) for key in keys)])
    return Table(["class", "objects", *keys], rows)


def thresholds(analysis: Analysis) -> Table:
    """The best threshold of all classes together and of each, and what it gives."""
    names = ("all", *analysis.matching.classes)
    rows = [[name, *_told(found)] for name, found in zip(names, analysis.bests, strict=True)]
    return Table(["class", "threshold", "precision", "recall", "F1"], rows)


def kinds(analysis: Analysis) -> Table:
    """Every kind of error, how often it is and what it costs."""
    counts, costs = analysis.errors.counts, analysis.costs
    rows = [
        [f"{kind}: {meaning}", f"{counts[kind]:,}", percent(costs.kinds[kind])] for kind, meaning in KINDS.items()
    ]  # fmt: skip
    wrong = sum(counts.values()) - counts["missed"]
    unfound = len(analysis.matching.object_labels) - int(analysis.matching.right.sum())
    rows.append(["false positives: all wrong detections", f"{wrong:,}", percent(costs.false_positives)])
    rows.append(["false negatives: all objects that were not found", f"{unfound:,}", percent(costs.false_negatives)])
    return Table(["kind", "count", "AP50 that it costs"], rows)


def costliest(analysis: Analysis, most: int = 3) -> list[str]:
    """The kinds of errors that cost most, with their count and cost; those that cost something.

    Each reads like 'place 12.1 (1,034 detections)'.
    """
    counts, costs = analysis.errors.counts, analysis.costs.kinds
    ranked = sorted((kind for kind in costs if costs[kind] > 0), key=costs.__getitem__, reverse=True)[:most]
    return [f"{kind} {percent(costs[kind])} ({_counted(kind, counts[kind])})" for kind in ranked]


def sentences(analysis: Analysis) -> list[str]:
    """What there is to know first."""
    told, values = analysis.bests[0], analysis.accuracy.average_precisions()
    found = [f"AP is {percent(values['AP'])}, AP50 {percent(values['AP50'])}, AP75 {percent(values['AP75'])}."]
    if told:
        found.append(
            f"With detections of a score of at least {told.threshold:.3f}, {percent(told.precision)} % of them are right "
            f"and {percent(told.recall)} % of the objects are found: no other threshold has a higher F1, "
            f"{percent(told.f1)} (IoU {OVERLAP:g})."
        )
    if ranked := costliest(analysis):
        found.append(f"What costs most AP50, in points: {', '.join(ranked)}.")
    if mixed := _most_confused(analysis):
        found.append(mixed)
    if analysis.worst:
        worst = analysis.worst[0]
        found.append(
            f"{many(len(analysis.worst), 'image')} of {analysis.matching.images} {_has(len(analysis.worst))} mistakes at that "
            f"threshold, the worst {worst.wrong + worst.missed} of them."
        )
    return found


def method(analysis: Analysis) -> list[str]:
    """How the numbers were found."""
    limit = analysis.accuracy.limits[-1]
    return [
        f"AP and AR are COCO's: means over IoU 0.5 to 0.95, at most {limit} detections of an image and class; "
        "small is below 32² pixels, large from 96² on.",
        f"All else is at IoU {OVERLAP:g}. A detection is right when it finds an object of its class that none of a higher "
        "score has found. Detections in crowd regions count neither way.",
        "A threshold lies half-way between two scores. Precision, recall and F1 of all classes count every object the same.",
        "Confusions: what found its object is on the diagonal; what is left over is paired across classes from the highest IoU "
        "down.",
        f"Kinds of errors are TIDE's (Bolya et al., ECCV 2020): near is an IoU of at least {NEAR:g}. They are of all "
        "detections, whatever their score. What a kind costs is the AP50 that is won when it alone is set right; the costs do "
        "not add up.",
    ]


def names(analysis: Analysis) -> tuple[str, ...]:
    """Of the rows and columns of the confusion matrix."""
    return (*analysis.matching.classes, "background")


def percent(value: float) -> str:
    """A share of 1 in percent, "-" for none."""
    return "-" if value != value else f"{PERCENT * value:.1f}"


def _told(found: Best | None) -> list[str]:
    return [f"{found.threshold:.3f}", *map(percent, found[1:])] if found else ["-"] * 4


def _grid(analysis: Analysis) -> np.ndarray:
    scores = analysis.matching.scores
    return np.linspace(0.0, max(1.0, scores.max(initial=0.0)), STEPS)


def _panel(title: str, x: str, y: str, places: np.ndarray, curves: dict[str, np.ndarray]) -> Panel:
    lines = [_line(name, color, places, values) for color, (name, values) in enumerate(curves.items())]
    return Panel(title, x, y, [line for line in lines if line.places])


def _line(name: str, color: int, places: np.ndarray, values: np.ndarray) -> Line:
    shown = [(x, PERCENT * y) for x, y in zip(places.tolist(), values.tolist(), strict=True) if y == y]
    return Line(name, color, [Place(x, y, y, y) for x, y in shown], from_zero=False, marked=False)


def _strips(values: dict[str, float]) -> list[Strip]:
    return [Strip(label, [Mark(label, 0, PERCENT * value, None, [])]) for label, value in values.items()]


def _largest(analysis: Analysis) -> list[int]:
    """The classes with the most objects, in the order of labels."""
    counts = analysis.matching.object_counts
    return sorted(label for label in np.argsort(-counts, kind="stable")[:MOST_LINES].tolist() if counts[label])


def _present(analysis: Analysis) -> int:
    return int((analysis.matching.object_counts > 0).sum())


def _class(analysis: Analysis, label: int) -> str:
    return analysis.matching.classes[label]


def _counted(kind: str, count: int) -> str:
    what = "object" if kind == "missed" else "detection"
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _has(count: int) -> str:
    return "has" if count == 1 else "have"


def _most_confused(analysis: Analysis) -> str | None:
    """The two classes of which one is most often taken for the other."""
    between = analysis.confusion[:-1, :-1] * ~np.eye(len(analysis.confusion) - 1, dtype=bool)
    if not between.any():
        return None
    truth, taken = np.unravel_index(between.argmax(), between.shape)
    share = three_digits(PERCENT * between[truth, taken] / analysis.confusion[truth].sum())
    names, times = analysis.matching.classes, between[truth, taken]
    return f"What is most often confused: {names[truth]} taken for {names[taken]}, {times} times ({share} %)."

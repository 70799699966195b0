"""The outcome of a comparison: results.json, results.csv, results.md and one figure."""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..engine.files import write_bytes, write_json
from ..evidence.drawing.fonts import style_of, title_lettering

COLUMNS = {
    "AP": ("AP", 100.0, 1),
    "AP50": ("AP50", 100.0, 1),
    "AP75": ("AP75", 100.0, 1),
    "APs": ("APs", 100.0, 1),
    "APm": ("APm", 100.0, 1),
    "APl": ("APl", 100.0, 1),
    "positives_per_target": ("pos", 1.0, 1),
    "effective_positives_per_target": ("eff", 1.0, 1),
    "targets_without_positive": ("none%", 100.0, 2),
    "seconds_per_step": ("s/step", 1.0, 3),
    "assignment_share": ("asg%", 100.0, 1),
    "peak_memory_bytes": ("MiB", 1 / 2**20, 0),
}
"""Key of a summary -> heading, factor, digits."""
SPREAD = ("AP", "AP50", "AP75")  # shown with their spread in a terminal


def rows(results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row per assigner, in the order given: for each column the mean over seeds, and the spread (half the range)."""
    table = []
    for name in dict.fromkeys(result["assigner"] for result in results):
        runs = [result for result in results if result["assigner"] == name]
        row: dict[str, Any] = {"assigner": name, "seeds": sorted(run["seed"] for run in runs)}
        for key in COLUMNS:
            values = [value for run in runs if (value := _value(run, key)) is not None]
            row[key] = statistics.fmean(values) if values else None
            row[f"{key}_spread"] = (max(values) - min(values)) / 2 if len(values) > 1 else None
        table.append(row)
    return table


def cells(table: Sequence[Mapping[str, Any]], spread: Sequence[str] = SPREAD) -> tuple[list[str], list[list[str]]]:
    """Headings and texts of a table for people: means, with ± spread in the columns named where there are several seeds."""
    headings = ["assigner", *(heading for heading, _, _ in COLUMNS.values())]
    return headings, [[row["assigner"], *(_text(row, key, key in spread) for key in COLUMNS)] for row in table]


def markdown(table: Sequence[Mapping[str, Any]], conditions: Mapping[str, Any]) -> str:
    """The table with the conditions it holds under."""
    headings, texts = cells(table, spread=list(COLUMNS))
    lines = [" | ".join(headings), " | ".join(["---", *["--:"] * (len(headings) - 1)])]
    lines += [" | ".join(text) for text in texts]
    facts = "; ".join(f"{name} {value}" for name, value in conditions.items())
    return "\n".join(f"| {line} |" for line in lines) + f"\n\n{facts}\n\n{LEGEND}\n"


LEGEND = (
    "AP in percent. pos: samples that push an object's class up, per object; eff: the same, counting weight as "
    "(sum w)² / sum w²; none%: objects that no sample learns; asg%: share of a step spent in matching, weighting and loss; "
    "MiB: peak memory. ± is half the range over seeds."
)


def write_report(results: Sequence[Mapping[str, Any]], conditions: Mapping[str, Any], folder: Path) -> dict[str, Path]:
    """Write the four files, each aside and then renamed; returns their paths."""
    table = rows(results)
    paths = {kind: folder / f"results.{kind}" for kind in ("json", "csv", "md", "png")}
    document = {"conditions": dict(conditions), "table": table, "runs": list(results)}
    write_json(document, paths["json"])
    write_bytes(_csv(results).encode(), paths["csv"])
    write_bytes(markdown(table, conditions).encode(), paths["md"])
    write_bytes(figure(results, conditions), paths["png"])
    return paths


def figure(results: Sequence[Mapping[str, Any]], conditions: Mapping[str, Any]) -> bytes:
    """A PNG of AP and AP50 over training time: a line per assigner, the mean over seeds, in a band of their range."""
    drawing = Figure(figsize=(11, 4.5), layout="constrained")
    FigureCanvasAgg(drawing)
    axes = drawing.subplots(1, 2, sharex=True)
    for index, name in enumerate(dict.fromkeys(result["assigner"] for result in results)):
        runs = [result["curve"] for result in results if result["assigner"] == name and result["curve"]]
        for axis, key in zip(axes, ("AP", "AP50"), strict=True):
            _curve(axis, runs, key, name, f"C{index}")
    for axis, key in zip(axes, ("AP", "AP50"), strict=True):
        axis.set(xlabel="training time, seconds", ylabel=f"{key}, %", ylim=(0, None))
        axis.grid(alpha=0.3)
    axes[0].legend(frameon=False)
    title = ", ".join(str(conditions[key]) for key in ("detector", "data") if key in conditions)
    shown, font = title_lettering(title)
    drawing.suptitle(shown, fontsize=10, parse_math=False, **style_of(font))
    buffer = io.BytesIO()
    drawing.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()


def _curve(axis: Any, runs: Sequence[Sequence[Mapping[str, Any]]], key: str, name: str, colour: str) -> None:
    """One assigner's line; evaluations of different seeds are paired by epoch."""
    points = min((len(run) for run in runs), default=0)
    if not points:
        return
    seconds = [statistics.fmean(run[i]["train_seconds"] for run in runs) for i in range(points)]
    values = [[100 * (run[i][key] or 0.0) for run in runs] for i in range(points)]
    axis.plot(seconds, [statistics.fmean(v) for v in values], color=colour, marker="o", markersize=3, label=name)
    if len(runs) > 1:
        axis.fill_between(seconds, [min(v) for v in values], [max(v) for v in values], color=colour, alpha=0.2, lw=0)


def _value(run: Mapping[str, Any], key: str) -> float | None:
    value = run["metrics"].get(key) if key.startswith("AP") else run.get(key)
    return None if value is None or math.isnan(value) else float(value)


def _text(row: Mapping[str, Any], key: str, with_spread: bool) -> str:
    _, factor, digits = COLUMNS[key]
    if row[key] is None:
        return "-"
    spread = row[f"{key}_spread"] if with_spread else None
    return f"{factor * row[key]:.{digits}f}" + (f" ± {factor * spread:.{digits}f}" if spread is not None else "")


def _csv(results: Sequence[Mapping[str, Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(["assigner", "seed", "steps", "parameters", *COLUMNS])
    for run in results:
        own = [run["assigner"], run["seed"], run["steps"], run["parameters"]]
        writer.writerow([*own, *(_value(run, key) for key in COLUMNS)])
    return buffer.getvalue()

"""`detassign inspect --telemetry`: a run's assignment over its epochs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from ..engine.files import new_path
from .tables import table

COLUMNS = {
    "instability": ("probe", "instability"),
    "moved %": ("probe", "moved"),
    "between layers %": ("probe", "moved_between_layers"),
    "samples S / M / L": ("steps", "positives_by_size"),
    "none % S / M / L": ("steps", "without_by_size"),
    "w⁺ % S / M / L": ("steps", "weight_share_by_size"),
    "best %": ("steps", "best_share"),
    "contested %": ("steps", "contested"),
    "Pearson": ("steps", "pearson"),
    "Spearman": ("probe", "spearman"),
}
"""Heading -> where the number, or the numbers by name, are in an epoch's telemetry."""


def show(run: Path, out: Path | None, json_file: Path | None) -> None:
    """Print a row per epoch, and draw them.

    Args:
        run: its folder.
        out: the picture, which is replaced; a new inspect-telemetry.png if left out.
        json_file: takes the lines.

    Raises:
        FileNotFoundError, ValueError: for a folder that holds no run, or a run without telemetry.
    """
    from ..engine.files import write_json
    from ..evidence.drawing.canvas import save
    from ..evidence.drawing.telemetry import draw

    lines = lines_of(run)
    picture = out or new_path(Path("inspect-telemetry.png"))
    save(draw(lines, f"{run.resolve().name}   ·   telemetry"), picture)
    if json_file:
        write_json(lines, json_file)
    table(["epoch", *COLUMNS], [[str(line["epoch"]), *_cells(line)] for line in lines])
    click.echo(f"picture: {picture}")


def lines_of(run: Path) -> list[Mapping[str, Any]]:
    """The lines of a run's metrics that telemetry wrote.

    Raises:
        FileNotFoundError: when the folder holds no metrics.
        ValueError: when there are none.
    """
    from ..engine.hooks import read_metrics
    from ..engine.summary import METRICS

    if not (run / METRICS).is_file():
        raise FileNotFoundError(f"--run {run}: holds no {METRICS}; name the folder of a run")
    entries = (line for line in read_metrics(run / METRICS) if isinstance(line.get("telemetry"), Mapping))
    lines = [line for line in entries if isinstance(line["epoch"], int)]
    if not lines:
        raise ValueError(f"--run {run}: has no telemetry; train with --telemetry, or go on with it from here on")
    return lines


def _cells(line: Mapping[str, Any]) -> list[str]:
    return [_cell(line, keys, heading) for heading, keys in COLUMNS.items()]


def _cell(line: Mapping[str, Any], keys: Sequence[str], heading: str) -> str:
    from ..evidence.drawing.telemetry import names, values

    several = [(*keys, name) for name in names([line], *keys)]
    numbers = [values([line], *place)[0] for place in several or [keys]]
    factor, digits = (100, 1) if "%" in heading else (1, 2)
    return " / ".join("-" if math.isnan(number) else f"{factor * number:.{digits}f}" for number in numbers)

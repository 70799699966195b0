"""`detassign bench evaluation`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from ..engine.files import check_files
from .rows import keep_rows
from .tables import say, table


@click.command("evaluation")
@click.option("--images", type=click.IntRange(min=1), default=5000, show_default=True)
@click.option("--detections", type=click.IntRange(min=7), default=100, show_default=True, help="Of each image.")
@click.option("--classes", type=click.IntRange(min=1), default=80, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Also write the rows to this JSON file.")
def command(out: Path | None, **sizes: int) -> None:
    """Measure COCO's average precision of random boxes beside pycocotools, each in a process of its own.

    From the detections of each image, as a detector gives them, to the twelve averages: seconds, and the memory that
    they take. Seven objects in an image are detected about where they are.

    \b
    detassign bench evaluation --images 500
    """
    from ..bench.evaluation import measure, random_split
    from ..engine.provenance import processor

    check_files(out)
    described = {**sizes, "processor": processor()}
    rows = keep_rows(measure(partial(random_split, **sizes)), _brief, out, {"conditions": described})
    table(["by", "seconds", "CPU s", "memory, MB", "AP", "AR"], [_texts(row) for row in rows])
    ours, peer = rows
    apart = max(abs(ours.averages[name] - value) for name, value in peer.averages.items() if value == value)
    shares = f"{ours.seconds / peer.seconds:.3f} of the time, {ours.memory / peer.memory:.3f} of the memory"
    say(f"{shares}; averages are {apart:.1g} apart at most")
    if out:
        click.echo(str(out))


def _brief(row: Any) -> str:
    return f"{row.side}: {row.seconds:.1f} s"


def _texts(row: Any) -> list[str]:
    numbers = [f"{row.seconds:.2f}", f"{row.cpu_seconds:.2f}", f"{row.memory / 2**20:.0f}"]
    return [row.side, *numbers, *(f"{100 * row.averages[name]:.2f}" for name in ("AP", "AR"))]

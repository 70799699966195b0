"""`detassign train`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from . import completion
from .common import choice_options, run_options, trust_option
from .tables import table


@click.command("train")
@click.argument("config", required=False, shell_complete=completion.config)
@choice_options
@run_options
@trust_option
@click.option("--work-dir", type=click.Path(path_type=Path), help="Folder of the run; runs/NAME if left out.")
@click.option(
    "--resume",
    is_flag=True,
    help="Go on with the run in --work-dir; --epochs, --batch-size, --device and --data may be others than before.",
)
@click.option("--quiet", is_flag=True, help="No progress bar.")
@click.option("--no-table", is_flag=True, help="Do not print the result.")
def command(config: str | None, work_dir: Path | None, resume: bool, quiet: bool, no_table: bool, **given: Any) -> None:
    """Train a detector under an assigner.

    CONFIG is a recipe's name, a Python file of that form, or a run's config.json; options go before what it says.

    \b
    detassign train --detector fcos_tiny --assigner dw --data synthetic --epochs 2
    detassign train dw_r50_1x --data-root /data/coco
    detassign train --work-dir runs/mine --resume --epochs 24
    torchrun --nproc-per-node 8 -m detassign.cli train dino_4scale_r50_12e --data-root /data/coco

    The last line trains on 8 GPUs, each with an eighth of every batch.
    """
    from .. import train
    from ..engine.evaluation import CLASSES
    from ..engine.processes import is_first, joined

    with joined():
        run = train(config, work_dir=work_dir, resume=resume, quiet=quiet, **given)
        if is_first() and not no_table:
            scores = {
                "weights": run.summary["metrics"],
                **({"average": run.summary["ema"]["metrics"]} if run.summary["ema"] else {}),
            }
            names = [name for name in run.summary["metrics"] if name != CLASSES]
            rows = [[key, *(_percent(metrics.get(name)) for name in names)] for key, metrics in scores.items()]
            lead = [""] if run.summary["ema"] else []
            table([*lead, *names], [row if lead else row[1:] for row in rows])
            click.echo(f"run folder: {run.folder}{_best(run.summary)}")


def _best(summary: Mapping[str, Any]) -> str:
    """Which epochs are the best, if any are."""
    from ..engine.checkpoints import BEST, BEST_EMA

    bests = {BEST: summary["best"], BEST_EMA: summary["best_ema"]}
    told = [
        f", best epoch {best['epoch']} (AP {_percent(best['AP'])}) in {name}" for name, best in bests.items() if best
    ]
    return "".join(told)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"

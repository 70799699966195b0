"""`detassign train`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import completion
from .common import choice_options, new_run_folder, run_options, trust_option
from .tables import table

if TYPE_CHECKING:
    from ..assigners.imports import Imported


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
    from ..engine.config import CONFIG
    from ..engine.evaluation import CLASSES
    from ..engine.imports import adopt, code_of
    from ..engine.processes import is_first, joined, once
    from ..engine.train import train
    from .configs import resolve_config

    if resume and work_dir is None:
        raise ValueError("--resume: name the run's folder with --work-dir")

    def resolve() -> tuple[dict[str, Any], list[Imported]]:
        if not config and resume and not (work_dir / CONFIG).is_file():
            raise ValueError(f"--resume: {work_dir} holds no run; a new one starts without --resume")
        resolved = resolve_config(config or (str(work_dir / CONFIG) if resume else None), **given)
        return resolved, code_of(resolved)

    with joined():
        resolved, code = once(resolve)
        adopt(code)
        folder = once(lambda: work_dir or new_run_folder(resolved["name"]))
        summary = train(resolved, folder, resume=resume, quiet=quiet)
        if is_first() and not no_table:
            metrics = {name: value for name, value in summary["metrics"].items() if name != CLASSES}
            table([*metrics], [[_percent(value) for value in metrics.values()]])
            click.echo(f"run folder: {folder}{_best(summary)}")


def _best(summary: Mapping[str, Any]) -> str:
    """Which epoch is the best, if any is."""
    from ..engine.checkpoints import BEST

    best = summary["best"]
    return f", best epoch {best['epoch']} (AP {_percent(best['AP'])}) in {BEST}" if best else ""


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"

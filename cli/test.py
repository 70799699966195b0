"""`detassign test`."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from ..data.files import json_text
from .common import checked, import_option, trust_option
from .tables import table


@click.command("test")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--checkpoint", type=click.Path(path_type=Path), help="Another checkpoint than the run's last.")
@click.option("--split", type=click.Choice(["val", "train"]), default="val", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--device", metavar="NAME", help="auto, cpu or cuda[:index].")
@import_option
@trust_option
def command(
    run: Path,
    checkpoint: Path | None,
    split: str,
    as_json: bool,
    device: str | None,
    imports: tuple[str, ...],
    trust: bool,
) -> None:
    """Measure the AP of a trained run on its own data.

    \b
    detassign test runs/fcos_tiny-dw-synthetic
    """
    from ..engine.config import source_of
    from ..engine.imports import load_named
    from ..engine.processes import is_first, joined, once
    from ..engine.train import evaluate, find_config, find_run

    given = load_named(imports)
    config, last = (find_config(run, trust, given), checkpoint) if checkpoint else find_run(run, trust, given)
    if device:
        config["device"] = device
    with joined():
        once(partial(checked, source_of(config), [split]))
        metrics = evaluate(config, checkpoint or last, split)
        speaks = is_first()
    if not speaks:
        return
    if as_json:
        click.echo(json_text(metrics, indent=2))
        return
    limit = config["evaluation"]["max_detections"]
    values = ["-" if value != value else f"{100 * value:.1f}" for value in metrics.values()]
    table([*metrics], [values], title=f"{config['name']} on {split}, at most {limit} detections per image")

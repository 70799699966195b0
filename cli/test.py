"""`detassign test`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..data.files import json_text
from . import completion
from .common import (
    checkpoint_option,
    data_option,
    data_root_option,
    images_option,
    import_option,
    trust_option,
)
from .tables import table


@click.command("test")
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN_OR_CHECKPOINT", shell_complete=completion.run)
@checkpoint_option
@click.option("--split", type=click.Choice(["val", "train", "test"]), default="val", show_default=True)
@data_option
@data_root_option
@images_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON, AP as a share of 1, with that of each class.")
@click.option("--device", metavar="NAME", help="auto, cpu or cuda[:index].")
@import_option
@trust_option
def command(run: Path, as_json: bool, **given: Any) -> None:
    """Measure the AP of a trained run on its own data, or on other data of the same classes.

    Without --checkpoint that of the run's best epoch is taken. --data says where the data set lies now if it was moved.

    \b
    detassign test runs/fcos_tiny-dw-synthetic
    detassign test runs/mine --checkpoint last --data /new/place/mine
    """
    from .. import evaluate
    from ..engine.evaluation import CLASSES
    from ..engine.processes import is_first, joined

    with joined():
        found = evaluate(run, **given)
        speaks = is_first()
    if not speaks:
        return
    click.echo(f"checkpoint: {found.checkpoint}", err=True)
    if as_json:
        click.echo(json_text(found.metrics, indent=2))
        return
    shown = {name: value for name, value in found.metrics.items() if name != CLASSES}
    values = ["-" if value != value else f"{100 * value:.1f}" for value in shown.values()]
    title = f"{found.name} on {found.split}, at most {found.max_detections} detections per image"
    table([*shown], [values], title=title)

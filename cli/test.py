"""`detassign test`."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from ..data.files import json_text
from . import completion
from .common import (
    checked,
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
def command(
    run: Path,
    checkpoint: str | None,
    split: str,
    data: str | None,
    data_root: Path | None,
    images: int | None,
    as_json: bool,
    device: str | None,
    imports: tuple[str, ...],
    trust: bool,
) -> None:
    """Measure the AP of a trained run on its own data, or on other data of the same classes.

    Without --checkpoint that of the run's best epoch is taken. --data says where the data set lies now if it was moved.

    \b
    detassign test runs/fcos_tiny-dw-synthetic
    detassign test runs/mine --checkpoint last --data /new/place/mine
    """
    from ..engine.config import find_source
    from ..engine.evaluation import CLASSES
    from ..engine.imports import load_named
    from ..engine.predict import find_model
    from ..engine.processes import is_first, joined, once
    from ..engine.train import evaluate
    from .configs import on_data

    with joined():
        config, chosen = find_model(run, checkpoint, trust, load_named(imports))
        classes = config["data"]["classes"]
        config = once(partial(on_data, config, data, data_root, images))
        if device:
            config["device"] = device
        once(lambda: checked(find_source(config, [split]), [split]))
        metrics = evaluate(config, chosen.path, split, classes)
        speaks = is_first()
    if not speaks:
        return
    click.echo(f"checkpoint: {chosen}", err=True)
    if as_json:
        click.echo(json_text(metrics, indent=2))
        return
    limit = config["evaluation"]["max_detections"]
    shown = {name: value for name, value in metrics.items() if name != CLASSES}
    values = ["-" if value != value else f"{100 * value:.1f}" for value in shown.values()]
    table([*shown], [values], title=f"{config['name']} on {split}, at most {limit} detections per image")

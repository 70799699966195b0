"""`detassign predict`."""

from __future__ import annotations

from pathlib import Path

import click

from ..evidence.words import printable
from . import completion
from .common import checkpoint_option, device_option, import_option, new_run_folder, trust_option


@click.command("predict")
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN_OR_CHECKPOINT", shell_complete=completion.run)
@click.argument("images", type=click.Path(path_type=Path), metavar="IMAGES...", nargs=-1, required=True)
@checkpoint_option
@click.option("--out", type=click.Path(path_type=Path), help="New or empty folder; runs/predict-NAME if left out.")
@click.option("--score", type=click.FloatRange(0, 1), default=0.3, show_default=True, help="Leave out what is below.")
@click.option("--max", "limit", type=click.IntRange(min=1), help="At most so many detections per image.")
@click.option("--recursive", is_flag=True, help="Look for images in the folders of a folder, too.")
@device_option
@click.option("--batch", type=click.IntRange(min=1), default=1, show_default=True, help="Images of one size at a time.")
@click.option("--half", is_flag=True, help="Compute the network in float16, on a CPU in bfloat16.")
@click.option(
    "--compile",
    "compiled",
    is_flag=True,
    help="Translate the network first: a minute, again for odd image sizes; saves 0 to 10 % on a CPU.",
)
@click.option("--json-only", is_flag=True, help="No drawings.")
@import_option
@trust_option
def command(
    run: Path,
    images: tuple[Path, ...],
    checkpoint: str | None,
    out: Path | None,
    score: float,
    limit: int | None,
    recursive: bool,
    device: str | None,
    batch: int,
    half: bool,
    compiled: bool,
    json_only: bool,
    imports: tuple[str, ...],
    trust: bool,
) -> int:
    """Draw and write down what a trained model finds in images.

    IMAGES are files and folders of images; what a folder holds besides is named. The output folder gets predictions.json,
    and a PNG for each image. An image that cannot be read is named and left out, and the exit status is then 1. Of a run
    its best checkpoint is taken.

    \b
    detassign predict runs/fcos_tiny-dw-synthetic photos/ --score 0.5 --recursive
    """
    from ..engine.imports import load_named
    from ..engine.predict import find_model, predict
    from ..engine.prediction.finding import find_images, left_out

    config, chosen = find_model(run, checkpoint, trust, load_named(imports))
    if device:
        config["device"] = device
    folder = out or new_run_folder(f"predict-{config.get('name', 'run')}")
    files = find_images(images, recursive)
    for sentence in left_out(images, recursive):
        click.echo(f"detassign: {printable(sentence)}", err=True)
    options = {"draw": not json_only, "compiled": compiled, "batch": batch, "half": half}
    done = predict(config, chosen.path, files, folder, score, limit, **options)
    for failure in done.failures:
        click.echo(f"detassign: {printable(failure)}", err=True)
    click.echo(f"{done.images} images, {done.detections} detections by {chosen}: {folder}")
    return int(bool(done.failures))

"""`detassign predict`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..engine.files import new_run_folder
from ..evidence.words import many, printable
from . import completion
from .common import checkpoint_option, device_option, import_option, options, trust_option

if TYPE_CHECKING:
    from ..data import DataSource
    from ..engine.prediction.wanted import Outcome

FORMS = ("json", "coco", "yolo", "csv")

wanted_options = options(
    click.option(
        "--score", type=click.FloatRange(0, 1), default=0.3, show_default=True, help="Leave out what is below."
    ),
    click.option("--max", "limit", type=click.IntRange(min=1), help="At most so many detections per image."),
    click.option("--batch", type=click.IntRange(min=1), default=1, show_default=True, help="Images at a time."),
    click.option(
        "--format",
        "forms",
        type=click.Choice(FORMS),
        multiple=True,
        help="Besides predictions.json: coco.json, labels/*.txt (YOLO's), predictions.csv. Repeatable; of images.",
    ),
    click.option(
        "--ids",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Annotations in COCO form, whose image ids coco.json takes; the numbers that files are named by if left out.",
    ),
    click.option("--crops", is_flag=True, help="Cut the detections of images out, into crops/CLASS/."),
    click.option(
        "--every", type=click.IntRange(min=1), default=1, show_default=True, help="Of a video, each so-many-th frame."
    ),
)

EXPORTED = (".onnx", ".torchscript", ".pt2")  # endings of files of 'detassign export'
Model = tuple[str, Any, Callable[[], Any], "DataSource"]


@click.command("predict")
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN_OR_FILE", shell_complete=completion.run)
@click.argument("files", type=click.Path(path_type=Path), metavar="FILES...", nargs=-1, required=True)
@checkpoint_option
@click.option("--out", type=click.Path(path_type=Path), help="New or empty folder; runs/predict-NAME if left out.")
@wanted_options
@click.option("--recursive", is_flag=True, help="Look for images in the folders of a folder, too.")
@device_option
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
    files: tuple[Path, ...],
    checkpoint: str | None,
    out: Path | None,
    recursive: bool,
    device: str | None,
    half: bool,
    compiled: bool,
    json_only: bool,
    imports: tuple[str, ...],
    trust: bool,
    **wanted: Any,
) -> int:
    """Draw and write down what a trained model finds in images and videos.

    FILES are images, videos, folders of images, patterns ('photos/**/*.jpg', in quotes) and lists (@list.txt, a path a line);
    what a folder holds besides is named. The output folder gets predictions.json and a PNG for each image, and NAME.jsonl, a
    line per frame, and NAME.mp4 for each video. A file that cannot be read is named and left out, and the exit status is
    then 1. Of a run its best checkpoint is taken; a file of 'detassign export' takes a run's place.

    \b
    detassign predict runs/fcos_tiny-dw-synthetic photos/ --score 0.5 --recursive --batch 8
    detassign predict runs/fcos_tiny-dw-synthetic street.mp4 --half --every 2
    detassign predict runs/fcos_tiny-dw-synthetic @list.txt --json-only --format coco --crops
    """
    from ..engine.predict import predict_with
    from ..engine.prediction.expanding import expanded
    from ..engine.prediction.finding import find_images, left_out
    from ..engine.prediction.wanted import Wanted

    if wanted["ids"] and "coco" not in wanted["forms"]:
        raise ValueError(f"--ids {wanted['ids']}: belongs to --format coco")
    if run.suffix.lower() in EXPORTED:
        _check_exported(run, checkpoint=checkpoint, device=device, half=half, compile=compiled)
        name, chosen, load, source = _of_file(run, trust)
    else:
        name, chosen, load, source = _of_run(run, checkpoint, trust, imports, device, half, compiled)
    folder, paths = out or new_run_folder(f"predict-{name}"), expanded(files)
    images = find_images(paths, recursive)
    for sentence in left_out(paths, recursive):
        click.echo(f"detassign: {printable(sentence)}", err=True)
    done = predict_with(load, source, images, folder, Wanted(draw=not json_only, **wanted))
    for failure in done.outcome.failures:
        click.echo(f"detassign: {printable(failure)}", err=True)
    click.echo(f"{_told(done.outcome)} by {chosen}: {folder}")
    pieces = done.outcome.images + done.outcome.frames
    if pieces:
        click.echo(done.clock.words(pieces, "image" if done.outcome.images else "frame"))
    return int(bool(done.outcome.failures))


def _told(outcome: Outcome) -> str:
    """What was done, in words."""
    videos = f"{many(outcome.frames, 'frame')} of {many(outcome.videos, 'video')}" if outcome.videos else ""
    images = many(outcome.images, "image") if outcome.images or not videos else ""
    return ", ".join(filter(None, (images, videos, many(outcome.detections, "detection"))))


def _of_run(
    run: Path,
    checkpoint: str | None,
    trust: bool,
    imports: tuple[str, ...],
    device: str | None,
    half: bool,
    compiled: bool,
) -> Model:
    """A run's name, its checkpoint, what loads the predictor, and whose classes it knows."""
    from ..engine.config import source_of
    from ..engine.imports import load_named
    from ..engine.predict import find_model
    from ..engine.predictor import Predictor

    config, chosen = find_model(run, checkpoint, trust, load_named(imports))
    if device:
        config["device"] = device
    load = partial(Predictor.load, config, chosen.path, half, compiled)
    return config.get("name", "run"), chosen, load, source_of(config)


def _of_file(path: Path, trust: bool) -> Model:
    """The same of an exported file, which is read at once, as it holds the classes; they are numbered from 1."""
    from ..data import DataSource
    from ..engine.export.predictor import ExportedPredictor

    predictor, nowhere = ExportedPredictor(path, trust), Path("nowhere")
    ids = tuple(range(1, len(predictor.classes) + 1))
    source = DataSource(path.stem, nowhere, nowhere, nowhere, nowhere, predictor.classes, ids)
    return path.stem, path, lambda: predictor, source


def _check_exported(path: Path, **given: Any) -> None:
    """Raise ValueError for options that an exported file, which is fixed, has no use for."""
    useless = next((name for name, value in given.items() if value), None)
    if useless:
        raise ValueError(f"--{useless}: {path} is an exported file, which runs as it is; leave it out")

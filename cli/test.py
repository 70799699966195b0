"""`detassign test`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from . import completion
from .common import (
    checkpoint_option,
    data_option,
    data_root_option,
    device_option,
    images_option,
    import_option,
    trust_option,
)
from .test_report import Tested, tell

DETECTIONS = 100  # of an image that count where no run says it: COCO's rule


@click.command("test")
@click.argument(
    "run", type=click.Path(path_type=Path), metavar="[RUN_OR_CHECKPOINT]", required=False, shell_complete=completion.run
)
@checkpoint_option
@click.option("--split", type=click.Choice(["val", "train", "test"]), default="val", show_default=True)
@data_option
@data_root_option
@images_option
@click.option(
    "--detections",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Measure these, in the form of COCO's results, against --data; no run is needed.",
)
@click.option("--max", "limit", type=click.IntRange(min=1), help="At most so many detections of an image count.")
@click.option("--out", type=click.Path(path_type=Path), help="The report's folder; RUN/eval-SPLIT if left out.")
@click.option("--no-report", is_flag=True, help="Numbers alone; nothing is written.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, AP as a share of 1, with that of each class.")
@device_option
@import_option
@trust_option
def command(run: Path | None, detections: Path | None, split: str, as_json: bool, **options: Any) -> None:
    """Measure a trained run on its own data, or on other data of the same classes, and report what goes wrong.

    The report's folder gets metrics.json, detections.json (COCO results), report.html (one page that needs no network) and
    PNGs: AP and AR of every class and size, the best threshold, confusions, kinds of errors and what they cost, the worst
    images. A report that is there already is replaced.

    Without --checkpoint that of the run's best epoch is taken. --data says where the data set lies now if it was moved.

    \b
    detassign test runs/fcos_tiny-dw-synthetic
    detassign test runs/mine --checkpoint last --data /new/place/mine
    detassign test --detections results.json --data my/folder
    """
    if (run is None) == (detections is None):
        raise click.UsageError("name a run, or --detections with --data; one of the two")
    tested = _of_file(detections, split, **options) if detections else _of_run(run, split, **options)
    if tested:
        tell(tested, split, as_json)


def _of_run(
    run: Path,
    split: str,
    checkpoint: str | None,
    data: str | None,
    data_root: Path | None,
    images: int | None,
    limit: int | None,
    out: Path | None,
    no_report: bool,
    device: str | None,
    imports: tuple[str, ...],
    trust: bool,
) -> Tested | None:
    """What a run's checkpoint detects; None in all processes of a job but the first."""
    from ..engine.config import find_source
    from ..engine.finding import checked
    from ..engine.imports import load_named
    from ..engine.predict import find_model
    from ..engine.processes import is_first, joined, once
    from ..engine.resolving import on_data
    from ..engine.train import measured

    with joined():
        config, chosen = find_model(run, checkpoint, trust, load_named(imports))
        own = config["data"]
        config = once(partial(on_data, config, data, data_root, images))
        if device:
            config["device"] = device
        if limit:
            config["evaluation"]["max_detections"] = limit
        source = find_source(config, [split])
        once(lambda: checked(source, [split]))
        of = "" if source.name == own["name"] else f"{source.name}-"
        default = (run if run.is_dir() else run.parent) / _slug(f"eval-{of}{split}")
        folder = once(partial(_place, out, no_report, default))
        metrics, metric = measured(config, chosen.path, split, own["classes"], thorough=folder is not None)
        speaks = is_first()
    if not speaks:
        return None
    click.echo(f"checkpoint: {chosen}", err=True)
    facts = {"data": source.name, "split": split, "checkpoint": str(chosen)}
    count = config["evaluation"]["max_detections"]
    return Tested(
        config["name"], facts, count, source, metric.truth, metrics, metric.detections, metric.evaluation, folder
    )


def _of_file(
    file: Path,
    split: str,
    data: str | None,
    data_root: Path | None,
    images: int | None,
    limit: int | None,
    out: Path | None,
    no_report: bool,
    **others: Any,
) -> Tested:
    """What a file says was detected."""
    from ..data.detections import read_detections
    from ..data.reader import load_split
    from ..engine.evaluation import evaluated, metrics_of
    from ..engine.files import new_run_folder
    from ..engine.finding import checked, find_data

    if any(others.values()):
        name = next(name for name, value in others.items() if value)
        raise click.UsageError(f"--{name.removesuffix('s')} belongs to a run, and --detections needs none")
    if data is None and data_root is None:
        raise click.UsageError("--detections needs --data, the set that they are of")
    source = find_data(data or "coco", data_root, images)
    checked(source, [split])
    truth, count = load_split(source, split), limit or DETECTIONS
    folder = _place(out, no_report, new_run_folder(f"eval-{file.stem}-{split}"))
    detections = read_detections(file, truth)
    evaluation = evaluated(truth, detections, count)
    metrics = metrics_of(evaluation.accuracy, source.classes)
    facts = {"data": source.name, "split": split, "detections of": file.name}
    return Tested(file.name, facts, count, source, truth, metrics, detections, evaluation, folder)


def _place(out: Path | None, no_report: bool, default: Path) -> Path | None:
    """The report's folder, before there is a report; None where nobody asks for one, or a run cannot be written to."""
    from ..engine.evaluation_report import report_folder

    if no_report:
        return None
    try:
        return report_folder(out or default)
    except FileExistsError as error:
        hint = "" if out else "; or leave the report out with --no-report, or name its folder with --out"
        raise FileExistsError(f"{error}{hint}") from None
    except PermissionError as error:
        if out:
            raise
        click.echo(f"detassign: warning: no report: {error}; name its folder with --out", err=True)
        return None


def _slug(name: str) -> str:
    from ..assigners.spec import slug  # imports torch

    return slug(name)

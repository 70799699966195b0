"""`detassign test`."""

from __future__ import annotations

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
from .test_report import tell


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
def command(
    run: Path | None, detections: Path | None, out: Path | None, no_report: bool, as_json: bool, **given: Any
) -> None:
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
    from .. import evaluate
    from ..engine.processes import is_first, joined

    with joined():
        found = evaluate(run, detections=detections, report=None if no_report else out or True, **given)
        speaks = is_first()
    if speaks:
        tell(found, as_json)

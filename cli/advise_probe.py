"""The probe of `detassign advise`: its short list, trained under a budget of minutes and compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..engine.files import new_run_folder
from . import completion
from .common import options, pretrained_option

PROBED, FROM_SCRATCH = "fcos_mobilenetv2", "fcos_tiny"  # detectors of a probe, with weights to start from and without

probe_options = options(
    click.option(
        "--minutes",
        type=click.FloatRange(min=0, min_open=True),
        help="Then train the assigners of the short list for so long in all, and say which to take.",
    ),
    click.option(
        "--detector",
        metavar="NAME",
        shell_complete=completion.detectors,
        help=f"Of the probe; {PROBED} with --pretrained, {FROM_SCRATCH} without.",
    ),
    pretrained_option,
    click.option(
        "--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Runs of the probe at a time."
    ),
    click.option("--work-dir", type=click.Path(path_type=Path), help="Folder of the probe; going on there resumes it."),
    click.option("--quiet", is_flag=True, help="No progress."),
)


def probe_assigners(
    assigners: list[str],
    side: int,
    minutes: float,
    work_dir: Path | None,
    detector: str | None,
    jobs: int,
    **given: Any,
) -> list[str]:
    """Train the short list for so long in all, and what that says.

    Args:
        assigners: the short list.
        side: of the input that the data ask for; a run that would have too few steps at it has a smaller one.
        minutes: of all runs together.
        work_dir: the probe's folder, new or begun.
        detector: of the probe; None takes one that fits.
        jobs: runs at a time.
        given: data and options of training.
    """
    from ..evidence.advice.plan import plan_probe
    from ..evidence.advice.verdict import verdict
    from ..evidence.words import many
    from .bench_grid import compare

    chosen, folder = detector or (PROBED if given["pretrained"] else FROM_SCRATCH), work_dir or new_run_folder("advise")
    seeds, each = plan_probe(minutes, len(assigners), jobs)
    probed = _side(folder, side, each, chosen, assigners[0], **given)
    click.echo(
        f"probe: {chosen} at {probed} pixels, {len(assigners)} assigners x {many(seeds, 'seed')}, {each:.2g} minutes each",
        err=True,
    )
    records = compare(
        assigners=assigners,
        detectors=chosen,
        seeds=",".join(map(str, range(seeds))),
        minutes=each,
        work_dir=folder,
        settings=_settings(probed),
        schedule=None,
        jobs=jobs,
        **given,
    )
    smaller = (
        f"The probe's input is {probed} pixels, not {side}, at which its runs would have been too short: smaller objects "
        "count for less in it than they will for you."
    )
    return [*verdict(records), *([smaller] if probed < side else [])]


def _settings(side: int) -> tuple[str]:
    return (f"input.scale=({side},{side})",)


def _side(
    folder: Path,
    wanted: int,
    minutes: float,
    detector: str,
    assigner: str,
    data: tuple[str],
    quiet: bool,
    **given: Any,
) -> int:
    """The side of the probe's input: as the comparison in its folder has it, else as long as a step takes here.

    Raises:
        ValueError: when the folder's comparison is of no square input.
    """
    from ..bench.grid.plan import read_grid
    from ..engine.progress import progress_bar
    from ..engine.resolving import resolve_config
    from ..engine.train import step_seconds
    from ..evidence.advice.plan import LEAST_SIDE, probe_side

    begun = read_grid(folder).get("conditions", {}).get("scale")
    if begun is not None:
        width, _, height = str(begun).partition("x")
        if not width.isdecimal() or width != height:
            raise ValueError(f"--work-dir {folder}: its comparison is of input {begun}, no probe's; name a new folder")
        return int(width)
    settings = _settings(LEAST_SIDE)
    with progress_bar("how long a step takes", 1, quiet) as advance:
        seconds = step_seconds(resolve_config(None, detector, assigner, data=data[0], settings=settings, **given))
        advance()
    return probe_side(wanted, minutes, seconds)

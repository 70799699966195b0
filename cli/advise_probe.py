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
        help="Then train the assigners of the short list for so long in all, on smaller pictures where a run would have too "
        "few steps, and say which to take.",
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
        side: of the input that the data ask for; runs that would have too few steps at it have a smaller one.
        minutes: of all runs together, the time that is measured before not counted.
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
    probed = _side_begun(folder) or _side_by_time(side, each, chosen, assigners[0], jobs, **given)
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
        f"The probe's input is {probed} pixels, not {side}, so that its runs have more steps: small objects count for less in "
        "it than they will for you."
    )
    return [*([smaller] if probed < side else []), *verdict(records)]


def _settings(side: int) -> tuple[str]:
    return (f"input.scale=({side},{side})",)


def _side_begun(folder: Path) -> int | None:
    """The side of the input that the comparison in a folder has; None where there is none yet.

    Raises:
        FileExistsError: when the folder holds anything, and no comparison.
        ValueError: when the comparison is of no square input.
    """
    from ..bench.grid.plan import check_folders, read_grid

    check_folders(folder)
    scale = read_grid(folder).get("conditions", {}).get("scale")
    if scale is None:
        return None
    width, _, height = str(scale).partition("x")
    if not width.isdecimal() or width != height:
        raise ValueError(f"--work-dir {folder}: its comparison is of input {scale}, no probe's; name a new folder")
    return int(width)


def _side_by_time(
    wanted: int,
    minutes: float,
    detector: str,
    assigner: str,
    jobs: int,
    data: tuple[str, ...],
    quiet: bool,
    **given: Any,
) -> int:
    """The side of the input, chosen by the time of a step here, with as many threads as a run will have."""
    import torch

    from ..bench.grid.plan import Row
    from ..bench.grid.rehearsal import measure_all, try_all
    from ..engine.progress import progress_bar
    from ..engine.resolving import resolve_config
    from ..evidence.advice.plan import TIMED, probe_side

    configs = {
        Row(detector, assigner, f"{side} pixels"): resolve_config(
            None, detector, assigner, data=data[0], settings=_settings(side), **given
        )
        for side in TIMED
    }
    threads = torch.get_num_threads()
    torch.set_num_threads(max(threads // jobs, 1))
    try:
        try_all(dict([*configs.items()][:1]))  # what cannot train is told in a sentence
        with progress_bar("how long a step takes", len(configs), quiet) as advance:
            seconds = measure_all(configs, advance)
    finally:
        torch.set_num_threads(threads)
    return probe_side(wanted, minutes, dict(zip(TIMED, seconds.values(), strict=True)))

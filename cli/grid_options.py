"""The options of `detassign bench assigners`, and what they mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from . import common, completion
from .common import choose, options

DEMO = "fcos,atss,dw"

grid_options = options(
    click.option(
        "--detectors",
        "--detector",
        "detectors",
        metavar="A,B,…",
        shell_complete=completion.detectors,
        default="fcos_tiny",
        show_default=True,
        help="See 'detassign list'.",
    ),
    click.option(
        "--assigners",
        metavar="A,B,…",
        shell_complete=completion.assigner,
        help=f"Each as --assigner of train: 'fcos,dw(top_k=9),atss+dual'; {DEMO} if left out, with --speed all there are.",
    ),
    click.option(
        "--data",
        multiple=True,
        metavar="A,B,…",
        shell_complete=completion.data,
        help="Each as --data of train; repeatable. 'synthetic' if left out.",
    ),
    click.option("--data-root", type=click.Path(path_type=Path), help="Folder of COCO 2017, for --data coco."),
    common.images_option,
    click.option("--seeds", default="0", show_default=True, metavar="N,N,…", help="Each row is trained once per seed."),
)
budget_options = options(
    click.option("--epochs", type=click.IntRange(min=1), help="Of every run; the schedule's if left out."),
    click.option("--steps", type=click.IntRange(min=1), help="Of every run, in the place of --epochs."),
    click.option(
        "--minutes",
        type=click.FloatRange(min=0, min_open=True),
        help="Of training, evaluations not counted, for the slowest row, which is measured first; all runs then have as many "
        "steps. In the place of --epochs.",
    ),
)
config_options = options(
    common.import_option,
    common.scheme_option,
    common.extra_option,
    common.denoising_option,
    common.schedule_option,
    common.batch_size_option,
    common.pretrained_option,
    common.init_option,
    common.amp_option,
    common.precision_option,
    common.telemetry_option,
    common.set_option,
)
place_options = options(
    click.option(
        "--jobs", type=click.IntRange(min=1), help="Cells at a time; one for each device if left out, of a cluster all."
    ),
    click.option(
        "--devices",
        "--device",
        "devices",
        metavar="A,B,…",
        default="auto",
        show_default=True,
        help="auto, cpu or cuda[:index]; jobs are spread over several.",
    ),
    click.option("--cluster", type=click.Choice(["slurm", "local"]), help="Hand cells over as jobs; needs submitit."),
    click.option(
        "--cluster-option",
        "cluster_options",
        multiple=True,
        metavar="KEY=VALUE",
        help="Of submitit: timeout_min=600, slurm_partition=gpu; repeatable.",
    ),
    click.option(
        "--work-dir", type=click.Path(path_type=Path), help="Folder of the comparison; going on there resumes it."
    ),
    click.option(
        "--merge",
        multiple=True,
        type=click.Path(path_type=Path),
        metavar="FOLDER",
        help="Take over the finished cells of another comparison under the same conditions; repeatable.",
    ),
    click.option("--quiet", is_flag=True, help="No progress."),
)


@dataclass(frozen=True)
class Where:
    """Where cells run, as the options say.

    Attributes:
        jobs: at a time; None is all.
        threads: of each; None leaves them to where it runs.
        devices: spread over the jobs.
        cluster, options: of submitit.
    """

    jobs: int | None
    threads: int | None
    devices: list[str]
    cluster: str | None
    options: dict[str, Any]

    def rehearsed(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """A config as this process tries it; what is meant for a cluster's machines runs on whatever this one has."""
        if self.cluster is None:
            return {**config, "device": self.devices[0]}
        return {**config, "device": "auto", "precision": "float32"}

    def take_threads(self) -> None:
        """As many as a cell has, so that what this process tries and measures goes at a cell's pace."""
        import torch

        if self.threads:
            torch.set_num_threads(self.threads)


def where_to_run(
    jobs: int | None,
    threads: str | None,
    devices: str,
    cluster: str | None,
    cluster_options: tuple[str, ...],
    minutes: float | None,
) -> Where:
    """The options, checked.

    Raises:
        ValueError: for what is not there and for options that exclude each other.
    """
    import torch

    from ..bench.grid.cluster import load_submitit
    from ..engine.config import parse_changes
    from ..engine.device import device_of

    count, named = _count(threads), choose(devices)
    options = parse_changes(cluster_options, "--cluster-option", "timeout_min=600")
    if cluster is None and options:
        raise ValueError("--cluster-option: belongs to --cluster; name one")
    if cluster and len(named) > 1:
        raise ValueError("--devices: a cluster gives its jobs devices itself; ask for them with --cluster-option")
    if cluster and minutes is not None:
        raise ValueError(
            "--minutes: cells of a cluster run elsewhere than steps are measured; give --steps or --epochs"
        )
    if cluster:
        load_submitit()
        return Where(jobs, count or options.get("cpus_per_task"), named, cluster, options)
    for name in named:
        device = device_of({"device": name})
        if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
            raise ValueError(f"--devices: there is no {name}; torch sees {torch.cuda.device_count()} GPUs")
    jobs = jobs or len(named)
    return Where(jobs, count or max(torch.get_num_threads() // jobs, 1), named, None, {})


def data_sets(given: tuple[str, ...]) -> list[str]:
    """What --data names, each once; a comma that belongs to a folder's name parts nothing."""
    parts = [[text] if Path(text).exists() else text.split(",") for text in given]
    names = [part.strip() for text in parts for part in text if part.strip()]
    return list(dict.fromkeys(names)) or ["synthetic"]


def numbers(text: str) -> list[int]:
    """The seeds, each once."""
    chosen = choose(text)
    wrong = [seed for seed in chosen if not seed.isdigit()]
    if wrong:
        raise click.BadParameter(f"expected whole numbers, got {wrong[0]!r}", param_hint="--seeds")
    return list(dict.fromkeys(map(int, chosen)))


def _count(threads: str | None) -> int | None:
    if threads is not None and not (threads.isdigit() and int(threads)):
        raise click.BadParameter(
            f"expected a whole number of at least 1 for each cell, got {threads!r}", param_hint="--threads"
        )
    return None if threads is None else int(threads)

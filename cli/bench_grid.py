"""`detassign bench assigners`: a grid of trainings, compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..evidence.words import printable
from . import common
from .bench_speed import measure_speed, speed_options
from .common import choose, new_run_folder, options
from .tables import say, table

if TYPE_CHECKING:
    from ..bench.grid.plan import Cell, Row

DEMO = "fcos,atss,dw"

grid_options = options(
    click.option(
        "--detectors",
        "--detector",
        "detectors",
        metavar="A,B,…",
        default="fcos_tiny",
        show_default=True,
        help="See 'detassign list'.",
    ),
    click.option(
        "--assigners",
        metavar="A,B,…",
        help=f"Each as --assigner of train: 'fcos,dw(top_k=9),atss+dual'; {DEMO} if left out, with --speed all there are.",
    ),
    click.option(
        "--data",
        multiple=True,
        metavar="A,B,…",
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


@click.command("assigners")
@grid_options
@budget_options
@config_options
@place_options
@speed_options
def command(
    assigners: str | None, speed: bool, objects: str, threads: str | None, repeats: int, out: Path | None, **given: Any
) -> None:
    """Train detectors under several assigners and compare them; with --speed, measure the assigners alone.

    Every detector is trained under every assigner on every data set with every seed: a cell each. One seed gives all assigners
    the same initial weights, images in the same order and the same augmentation; what the rows differ in besides the assigner
    is told. Each row takes one step first, so that one that cannot work is told before the others have run for hours.

    A comparison that was stopped, or moved, goes on when it is started again with its --work-dir; several processes and
    machines may work on one, and a cell is run by one of them.

    \b
    detassign bench assigners --assigners fcos,atss,dw --epochs 2
    detassign bench assigners --detectors fcos_tiny,dino_r18_tiny \\
        --assigners dw,atss --data synthetic,my/folder --seeds 0,1,2 \\
        --minutes 10 --jobs 2
    detassign bench assigners --speed --assigners atss,dw --objects 100

    With --speed nothing is trained: matching, weighting, loss and backward on simulated predictions, 22,400 points or seven
    layers of 900 queries, 80 classes, two images, beside mmdet's heads and the authors' dense forms.
    """
    if speed:
        measure_speed(assigners and choose(assigners), objects, threads or "1,2", repeats, out)
        return
    _compare(assigners=choose(assigners or DEMO), threads=threads, **given)


def _compare(
    assigners: Sequence[str],
    detectors: str,
    seeds: str,
    epochs: int | None,
    steps: int | None,
    minutes: float | None,
    work_dir: Path | None,
    merge: tuple[Path, ...],
    quiet: bool,
    jobs: int | None,
    threads: str | None,
    devices: str,
    cluster: str | None,
    cluster_options: tuple[str, ...],
    **given: Any,
) -> None:
    """Plan, rehearse, take over, run, report."""
    from ..bench.grid.budget import Budget, fitted, steps_of
    from ..bench.grid.overview import Overview
    from ..bench.grid.plan import finished, from_elsewhere, plan, read_grid, write_grid, write_record
    from ..bench.grid.running import run_cells

    budget, numbers, names = Budget(epochs, steps, minutes), _seeds(seeds), choose(detectors)
    configs = _configs(names, assigners, **given)
    folder = work_dir or new_run_folder(f"bench-{'-'.join(names)}")
    where = _where(jobs, threads, devices, cluster, cluster_options, minutes)
    if minutes is not None:
        steps = budget.recorded(map(read_grid, (folder, *merge)))
    measured = minutes is not None and steps is None
    if measured:
        _try(configs, where, quiet)
        steps = _measured(configs, minutes, where, quiet)
    keep = any(setting.startswith("schedule.decay") for setting in given["settings"])
    configs = {row: fitted(config, epochs, steps, keep) for row, config in configs.items()}

    cells = plan(configs, numbers, folder, {row: steps_of(config) for row, config in configs.items()})
    done = finished(cells, folder)
    elsewhere = from_elsewhere(cells, merge, done)
    found = {cell: record for records in elsewhere.values() for cell, record in records.items()}
    left = [cell for cell in cells if cell not in done and cell not in found]
    if not measured:
        _try({cell.row: cell.config for cell in left}, where, quiet)
    told = _told(configs)
    write_grid(folder, {**vars(budget), "steps": steps}, cells, told)
    for cell, record in found.items():
        write_record(cell, record)
    for other, records in elsewhere.items():
        click.echo(f"{len(records)} of {len(cells)} cells taken over from {other}", err=True)

    place = _place(where, folder, len(left))
    failed = run_cells(left, folder, place, Overview(cells, quiet), where.threads)
    records = list(finished(cells, folder).values())
    if records:
        _report(records, told, folder)
    _end(failed, len(cells), folder)


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
        import torch

        if self.cluster is None:
            return {**config, "device": self.devices[0]}
        return {**config, "device": "auto", "amp": config["amp"] and torch.cuda.is_available()}


def _where(
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
        return Where(jobs, count or options.get("cpus_per_task"), named, cluster, options)
    for name in named:
        device = device_of({"device": name})
        if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
            raise ValueError(f"--devices: there is no {name}; torch sees {torch.cuda.device_count()} GPUs")
    jobs = jobs or len(named)
    return Where(jobs, count or max(torch.get_num_threads() // jobs, 1), named, None, {})


def _place(where: Where, folder: Path, cells: int) -> Any:
    """What runs the cells."""
    if where.cluster is None:
        from ..bench.grid.running import Processes

        return Processes(where.jobs, where.devices)
    from ..bench.grid.cluster import Cluster

    threads = {} if where.threads is None else {"cpus_per_task": where.threads}
    return Cluster(where.cluster, folder, where.jobs or max(cells, 1), where.devices[0], {**threads, **where.options})


def _configs(
    detectors: Sequence[str],
    assigners: Sequence[str],
    data: tuple[str, ...],
    data_root: Path | None,
    images: int | None,
    settings: tuple[str, ...],
    imports: tuple[str, ...],
    **given: Any,
) -> dict[Row, dict[str, Any]]:
    """The resolved config of every row.

    Raises:
        ValueError: for options that would give rows the same assigner, and for two data sets of one name.
    """
    from ..assigners.spec import name_of
    from ..bench.grid.plan import Row
    from ..engine.config import ASSIGNER
    from .configs import load_code, resolve_config

    if any(setting.startswith(f"{ASSIGNER}=") for setting in settings):
        raise ValueError(f"--set {ASSIGNER}: would give all rows the same one; name them with --assigners")
    load_code(imports, ",".join(assigners), {})  # together, so that two files of one name are noticed
    options = {"settings": settings, "imports": imports, **given}
    configs: dict[Row, dict[str, Any]] = {}
    for detector in detectors:
        for name in _data_sets(data):
            of_data = {"data": name, "data_root": data_root if name == "coco" else None}
            of_data["images"] = images if name == "synthetic" or "synthetic" not in _data_sets(data) else None
            for assigner in assigners:
                config = resolve_config(None, detector, assigner, **of_data, **options)
                row = Row(detector, name_of(assigner), config["data"]["name"])
                if row in configs:
                    raise ValueError(f"--data {name}: another data set is called {row.data} too; rename a folder")
                configs[row] = config
    return configs


def _data_sets(given: tuple[str, ...]) -> list[str]:
    """What --data names, each once; a comma that belongs to a folder's name parts nothing."""
    parts = [[text] if Path(text).exists() else text.split(",") for text in given]
    names = [part.strip() for text in parts for part in text if part.strip()]
    return list(dict.fromkeys(names)) or ["synthetic"]


def _try(configs: Mapping[Row, Mapping[str, Any]], where: Where, quiet: bool) -> None:
    """One step of every row."""
    import torch

    from ..bench.grid.rehearsal import try_all
    from ..engine.progress import progress_bar

    if where.threads:
        torch.set_num_threads(where.threads)
    with progress_bar("one step of each", len(configs), quiet) as advance:
        try_all({row: where.rehearsed(config) for row, config in configs.items()}, advance)


def _measured(configs: Mapping[Row, Mapping[str, Any]], minutes: float, where: Where, quiet: bool) -> int:
    """The steps that the slowest row has time for, measured."""
    from ..bench.grid.budget import steps_in
    from ..bench.grid.rehearsal import measure_all
    from ..engine.progress import progress_bar

    with progress_bar("some steps of each", len(configs), quiet) as advance:
        seconds = measure_all({row: where.rehearsed(config) for row, config in configs.items()}, advance)
    steps, slowest = steps_in(minutes, seconds)
    click.echo(
        f"{minutes:g} minutes are {steps} steps of the slowest row, {slowest.told([*configs])} "
        f"({seconds[slowest]:.3g} s a step); all rows are trained for as many",
        err=True,
    )
    return steps


def _told(configs: Mapping[Row, Mapping[str, Any]]) -> dict[str, Any]:
    """What all rows share, and by detector and data set what they differ in besides the assigner."""
    from ..bench.differences import besides
    from ..bench.grid.plan import groups

    facts = {
        "detector": lambda row, config: row.detector,
        "data": lambda row, config: row.data,
        "epochs": lambda row, config: config["schedule"]["epochs"],
        "steps": lambda row, config: config["schedule"]["steps"],
        "batch": lambda row, config: config["schedule"]["batch_size"],
        "scale": lambda row, config: "x".join(map(str, config["input"]["scale"])),
        "detections per image at most": lambda row, config: config["evaluation"]["max_detections"],
    }
    values = {name: dict.fromkeys(fact(*item) for item in configs.items()) for name, fact in facts.items()}
    conditions = {name: ", ".join(map(str, found)) for name, found in values.items() if [*found] != [None]}
    rows = groups(configs)
    differ = {key: besides({row.assigner: configs[row] for row in of_key}) for key, of_key in rows.items()}
    where = {key: "" if len(rows) == 1 else f"{key[0]} on {key[1]}: " for key in rows}
    return {
        "conditions": conditions,
        "differ": [f"{where[key]}{line}" for key, lines in differ.items() for line in lines],
    }


def _report(records: Sequence[Mapping[str, Any]], told: Mapping[str, Any], folder: Path) -> None:
    """Write the report, and print its table."""
    from ..bench.grid.plan import Row
    from ..bench.grid.records import hardware
    from ..bench.report import LEGEND, cells, rows, write_report

    others = told["differ"]
    seen = {
        "device": ", ".join(hardware(records)),
        "torch": ", ".join(dict.fromkeys(str(record["versions"].get("torch")) for record in records)),
        "differs besides the assigner": "; ".join(others) or "nothing",
    }
    all_rows = [Row(record["detector"], record["assigner"], record["data"]) for record in records]
    shown = [{**record, "assigner": row.told(all_rows)} for record, row in zip(records, all_rows, strict=True)]
    paths = write_report(shown, {**told["conditions"], **seen}, folder)
    table(*cells(rows(shown)))
    say(LEGEND)
    say("\n".join(["The rows differ besides in", *(f"  {line}" for line in others)] if others else []))
    click.echo("\n".join(str(path) for path in paths.values()))


def _end(failed: Mapping[Cell, str], cells: int, folder: Path) -> None:
    """Name what failed.

    Raises:
        ValueError: when anything did.
    """
    from ..bench.grid.records import CELLS

    for cell, why in failed.items():
        click.echo(f"{cell.name} failed: {printable(why)}", err=True)
    if failed:
        raise ValueError(
            f"{len(failed)} of {cells} cells failed; their logs are in {folder / CELLS}; the same command goes on from here"
        )


def _seeds(text: str) -> list[int]:
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

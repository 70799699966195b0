"""`detassign bench assigners`: a grid of trainings, compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..engine.files import new_run_folder
from ..evidence.words import printable
from .bench_report import show
from .bench_speed import measure_speed, speed_options
from .common import choose
from .grid_options import (
    DEMO,
    Where,
    budget_options,
    config_options,
    data_sets,
    grid_options,
    numbers,
    place_options,
    where_to_run,
)
from .tables import say

if TYPE_CHECKING:
    from ..bench.grid.budget import Budget
    from ..bench.grid.plan import Cell, Row


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
    compare(assigners=choose(assigners or DEMO), threads=threads, **given)


def compare(
    assigners: Sequence[str],
    detectors: str,
    seeds: str,
    epochs: int | None = None,
    steps: int | None = None,
    minutes: float | None = None,
    work_dir: Path | None = None,
    merge: tuple[Path, ...] = (),
    quiet: bool = False,
    jobs: int | None = None,
    threads: str | None = None,
    devices: str = "auto",
    cluster: str | None = None,
    cluster_options: tuple[str, ...] = (),
    **given: Any,
) -> list[dict[str, Any]]:
    """Plan, rehearse, take over, run, report; returns the records."""
    from ..bench.grid.budget import Budget, steps_of
    from ..bench.grid.plan import check_folders, finished, from_elsewhere, plan, read_grid, write_grid, write_record

    budget, repetitions, names = Budget.of(epochs, steps, minutes), numbers(seeds), choose(detectors)
    where = where_to_run(jobs, threads, devices, cluster, cluster_options, minutes)
    folder = work_dir or new_run_folder(f"bench-{'-'.join(names)}")
    check_folders(folder, merge)
    where.take_threads()
    configs = _decided(_configs(names, assigners, **given), where, (folder, *merge))
    budget = budget.as_recorded(map(read_grid, (folder, *merge)))
    tried = budget.is_open
    if tried:
        _try(configs, where, quiet)
        budget = _measured(budget, configs, where, quiet)
    keep_decay = any(setting.startswith("schedule.decay") for setting in given.get("settings", ()))
    configs = {row: budget.fitted(config, keep_decay) for row, config in configs.items()}
    cells = plan(configs, repetitions, folder, {row: steps_of(config) for row, config in configs.items()})
    done = finished(cells, folder)
    elsewhere = from_elsewhere(cells, merge, done)
    found = {cell: record for records in elsewhere.values() for cell, record in records.items()}
    left = [cell for cell in cells if cell not in done and cell not in found]
    if not tried:
        _try({cell.row: cell.config for cell in left}, where, quiet)
    told = _told(configs)
    write_grid(folder, vars(budget), cells, told)
    for cell, record in found.items():
        write_record(cell, record)
    for other, records in elsewhere.items():
        click.echo(f"{len(records)} of {len(cells)} cells taken over from {other}", err=True)
    return _run(cells, left, folder, where, told, quiet)


def _run(
    cells: Sequence[Cell],
    left: Sequence[Cell],
    folder: Path,
    where: Where,
    told: Mapping[str, Any],
    quiet: bool,
) -> list[dict[str, Any]]:
    """Run what is left, report all that is finished, and name what failed; returns the records.

    Raises:
        ValueError: when anything failed.
    """
    from ..bench.grid.overview import Overview
    from ..bench.grid.plan import finished
    from ..bench.grid.records import CELLS
    from ..bench.grid.running import run_cells

    failed = run_cells(left, folder, _place(where, folder, len(left)), Overview(cells, quiet), where.threads)
    records = list(finished(cells, folder).values())
    if records:
        _report(records, told, folder)
    for cell, why in failed.items():
        click.echo(f"{cell.name} failed: {printable(why)}", err=True)
    if failed:
        raise ValueError(
            f"{len(failed)} of {len(cells)} cells failed; their logs are in {folder / CELLS}; the same command goes on from "
            "here"
        )
    return records


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
    settings: tuple[str, ...] = (),
    imports: tuple[str, ...] = (),
    **given: Any,
) -> dict[Row, dict[str, Any]]:
    """The resolved config of every row.

    Raises:
        ValueError: for options that would give rows the same assigner, and for two data sets of one name.
    """
    from ..assigners.spec import name_of
    from ..bench.grid.plan import Row
    from ..engine.config import ASSIGNER
    from ..engine.resolving import load_code, resolve_config

    if any(setting.startswith(f"{ASSIGNER}=") for setting in settings):
        raise ValueError(f"--set {ASSIGNER}: would give all rows the same one; name them with --assigners")
    load_code(imports, ",".join(assigners), {})  # together, so that two files of one name are noticed
    options = {"settings": settings, "imports": imports, **given}
    configs: dict[Row, dict[str, Any]] = {}
    for detector in detectors:
        for name in data_sets(data):
            of_data = {"data": name, "data_root": data_root if name == "coco" else None}
            of_data["images"] = images if name == "synthetic" or "synthetic" not in data_sets(data) else None
            for assigner in assigners:
                config = resolve_config(None, detector, assigner, **of_data, **options)
                row = Row(detector, name_of(assigner), config["data"]["name"])
                if row in configs:
                    raise ValueError(f"--data {name}: another data set is called {row.data} too; rename a folder")
                configs[row] = config
    return configs


def _decided(
    configs: Mapping[Row, Mapping[str, Any]], where: Where, folders: Sequence[Path]
) -> dict[Row, dict[str, Any]]:
    """The configs with a precision by name, so that no cell decides for itself; what was left to the machine is said."""
    from ..bench.grid.precision import decide
    from ..engine.values import DTYPES

    config = next(iter(configs.values()))
    precision = decide({**config, "device": where.devices[0]}, folders, where.cluster is None)
    if config["precision"] not in DTYPES:
        click.echo(f"all cells are trained in {precision}", err=True)
    return {row: {**config, "precision": precision.name} for row, config in configs.items()}


def _try(configs: Mapping[Row, Mapping[str, Any]], where: Where, quiet: bool) -> None:
    """One step of every row."""
    from ..bench.grid.rehearsal import try_all
    from ..engine.progress import progress_bar

    with progress_bar("one step of each", len(configs), quiet) as advance:
        try_all({row: where.rehearsed(config) for row, config in configs.items()}, advance)


def _measured(budget: Budget, configs: Mapping[Row, Mapping[str, Any]], where: Where, quiet: bool) -> Budget:
    """The budget with the steps that the slowest row has time for, measured."""
    from ..bench.grid.budget import steps_in
    from ..bench.grid.rehearsal import measure_all
    from ..engine.progress import progress_bar

    with progress_bar("some steps of each", len(configs), quiet) as advance:
        seconds = measure_all({row: where.rehearsed(config) for row, config in configs.items()}, advance)
    steps, slowest = steps_in(budget.minutes, seconds)
    click.echo(
        f"{budget.minutes:g} minutes are {steps} steps of the slowest row, {slowest.told([*configs])} "
        f"({seconds[slowest]:.3g} s a step); all rows are trained for as many",
        err=True,
    )
    return replace(budget, steps=steps)


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
    """Write the report, and print what it says."""
    from ..bench.report import conditions_of, write_report

    show(write_report(records, conditions_of(records, told), folder))
    others = told["differ"]
    say("\n".join(["The rows differ besides in", *(f"  {line}" for line in others)] if others else []))

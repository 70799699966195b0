"""Comparing assigners: the same detector, data, schedule and seeds, one training run per assigner and seed.

Every run is a cell with a folder of its own and runs in its own process, so that its peak memory is its own and a crash
takes only itself down. A finished cell is never done again; an interrupted one goes on from its last checkpoint.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..assigners.spec import slugs
from ..data.files import new_folder
from ..engine.config import CONFIG, read
from ..engine.files import write_json
from ..engine.imports import IMPORTS, code_of, save
from ..engine.reasons import reason
from ..engine.resuming import conditions, differences
from ..engine.train import SUMMARY, rehearse

CELLS = "cells"  # folder of a comparison's runs


@dataclass(frozen=True)
class Cell:
    """One training run of a comparison."""

    assigner: str
    seed: int
    config: Mapping[str, Any]
    folder: Path

    @property
    def finished(self) -> bool:
        """Whether its summary, which a run writes last, is there."""
        return (self.folder / SUMMARY).is_file()

    def result(self) -> dict[str, Any]:
        """The run's summary with the assigner's name."""
        summary = json.loads((self.folder / SUMMARY).read_text(encoding="utf-8"))
        return {"assigner": self.assigner, **summary}


def plan(configs: Mapping[str, Mapping[str, Any]], seeds: Sequence[int], work_dir: Path) -> list[Cell]:
    """The cells of a comparison, all assigners of a seed before the next seed.

    Args:
        configs: resolved config by assigner name.
        seeds: each is trained once per assigner.
        work_dir: of the comparison; a cell's folder is cells/ASSIGNER-seedN in it.

    Raises:
        ValueError: when a cell's folder holds a run of another config: a comparison is of equals or it is none.
        FileExistsError: when the folder holds anything, and no comparison.
    """
    if not any((work_dir / CELLS).glob("*-seed*")):
        new_folder(work_dir)
    names = slugs(configs)
    cells = [
        Cell(name, seed, {**config, "seed": seed}, work_dir / CELLS / f"{names[name]}-seed{seed}")
        for seed in seeds
        for name, config in configs.items()
    ]
    for cell in cells:
        _check_same(cell)
    return cells


def try_all(cells: Sequence[Cell], advance: Callable[[], None] = lambda: None) -> None:
    """Build every assigner with an unfinished cell and take it through one step, before the first run.

    Args:
        cells: from `plan`.
        advance: called after each assigner.

    Raises:
        ValueError: naming each that cannot work, and why.
    """
    waiting = {cell.assigner: cell for cell in cells if not cell.finished}
    failures = []
    for name, cell in waiting.items():
        try:
            rehearse(cell.config)
        except Exception as error:  # whatever it is, it would end the run
            if os.environ.get("DETASSIGN_TRACEBACK"):
                raise
            failures.append(f"{name} ({reason(error)})")
        if torch.cuda.is_available():
            torch.cuda.empty_cache()  # what is held here would be missing in the run's own process
        advance()
    if failures:
        raise ValueError(
            f"{len(failures)} of {len(waiting)} assigners cannot train, so nothing was: {'; '.join(failures)}"
        )


def compare(
    cells: Sequence[Cell], announce: Callable[[str], None] = lambda text: None, quiet: bool = False
) -> list[Cell]:
    """Train every unfinished cell, one after the other; returns those that failed.

    Args:
        cells: from `plan`.
        announce: told one line per cell.
        quiet: no progress bars.
    """
    failed = []
    for number, cell in enumerate(cells, 1):
        label = f"[{number}/{len(cells)}] {cell.assigner}, seed {cell.seed}"
        if cell.finished:
            announce(f"{label}: done already")
            continue
        announce(label)
        if _run(cell, quiet) != 0:
            failed.append(cell)
    return failed


def results(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """The summaries of the finished cells."""
    return [cell.result() for cell in cells if cell.finished]


def _run(cell: Cell, quiet: bool) -> int:
    """Train a cell in a process of its own; its exit status."""
    cell.folder.parent.mkdir(parents=True, exist_ok=True)
    config = cell.folder.parent / f"{cell.folder.name}.json"
    write_json(cell.config, config)
    command = [sys.executable, "-m", "detassign.cli", "train", str(config), "--work-dir", str(cell.folder), "--resume"]
    command += ["--no-table", *_import_options(cell), *(["--quiet"] if quiet else [])]
    process = subprocess.Popen(command)
    try:
        status = process.wait()
    except KeyboardInterrupt:  # the terminal sent it to the child too, which keeps what it has
        process.wait()
        raise
    config.unlink(missing_ok=True)
    return status


def _import_options(cell: Cell) -> list[str]:
    """What hands the code that a cell's config names to the process that trains it; a copy stays in the work dir."""
    work_dir, code = cell.folder.parents[1], code_of(cell.config)
    save(cell.config, work_dir)
    return [f"--import={one.name if one.content is None else work_dir / IMPORTS / one.name}" for one in code]


def _check_same(cell: Cell) -> None:
    if not (cell.folder / CONFIG).is_file():
        return
    different = conditions(differences(read(cell.folder / CONFIG), cell.config))
    if different:
        raise ValueError(
            f"work dir {cell.folder.parents[1]} holds a comparison under other conditions ({', '.join(different)} of "
            f"{cell.assigner} differ); give another --work-dir"
        )

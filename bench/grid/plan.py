"""The plan of a grid: its rows and cells, where each has its place, and whether a folder is of the same grid."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ...assigners.spec import slugs
from ...data.files import new_folder, read_json
from ...engine.config import CONFIG, read
from ...engine.files import write_json
from ...engine.resuming import conditions as conditions_among
from ...engine.resuming import differences, named
from ...evidence.report.records import Row
from .records import CELLS, LABELS, conditions, digest, read_records

GRID = "grid.json"  # in a grid's folder


@dataclass(frozen=True, eq=False)
class Cell:
    """One training run of a grid.

    Attributes:
        row, seed: which.
        config: resolved.
        folder: of the run.
        name: what people are told.
        steps: of the run.
    """

    row: Row
    seed: int
    config: Mapping[str, Any]
    folder: Path
    name: str
    steps: int

    @cached_property
    def conditions(self) -> dict[str, Any]:
        return conditions(self.config)

    @cached_property
    def key(self) -> str:
        """What it has in common with every cell of the same conditions, wherever it was run."""
        return digest(self.conditions)

    @property
    def labels(self) -> dict[str, Any]:
        return {**self.row._asdict(), "seed": self.seed}

    @property
    def record(self) -> Path:
        return self.beside("json")

    def beside(self, ending: str) -> Path:
        """A file beside the run's folder."""
        return self.folder.with_name(f"{self.folder.name}.{ending}")


def plan(
    configs: Mapping[Row, Mapping[str, Any]], seeds: Sequence[int], work_dir: Path, steps: Mapping[Row, int]
) -> list[Cell]:
    """The cells of a grid, all rows of a seed before the next seed.

    Args:
        configs: resolved config of each row.
        seeds: each is trained once per row.
        work_dir: of the grid.
        steps: of a run of each row.

    Raises:
        ValueError: when a cell's run began under other conditions: a comparison is of equals or it is none.
    """
    assigners, data = slugs({row.assigner: None for row in configs}), slugs({row.data: None for row in configs})
    cells = []
    for seed in seeds:
        for row, config in configs.items():
            folder = work_dir / CELLS / row.detector / data[row.data] / f"{assigners[row.assigner]}-seed{seed}"
            name = f"{row.told([*configs])}, seed {seed}"
            cells.append(Cell(row, seed, {**config, "seed": seed}, folder, name, steps[row]))
    for cell in cells:
        _check_run(cell, work_dir)
    return cells


def groups(rows: Iterable[Row]) -> dict[tuple[str, str], list[Row]]:
    """Rows by detector and data set: those between which only the assigner should differ."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row.detector, row.data), []).append(row)
    return found


def check_folders(folder: Path, others: Iterable[Path] = ()) -> None:
    """Look whether a grid may be written to a folder, and others read.

    Raises:
        FileExistsError: when the folder holds anything, and no grid.
        ValueError: when one of the others holds none.
    """
    if not is_grid(folder):
        new_folder(folder)
    for other in others:
        if not is_grid(other):
            raise ValueError(f"--merge {other}: holds no comparison ({GRID}); name the work dir of one")


def is_grid(folder: Path) -> bool:
    """Whether a folder is a grid's."""
    return (folder / GRID).is_file()


def read_grid(folder: Path) -> dict[str, Any]:
    """What a grid's folder says of itself; nothing where it is new.

    Raises:
        ValueError: when its file is none of a grid.
    """
    found = read_json(folder / GRID) if is_grid(folder) else {}
    if not isinstance(found, dict) or not all(isinstance(found.get(key, {}), dict) for key in ("budget", "conditions")):
        raise ValueError(f"{folder / GRID}: expected what a comparison writes there, a dict with its budget")
    differ = found.get("differ", [])
    if not isinstance(differ, list) or not all(isinstance(line, str) for line in differ):
        raise ValueError(f"{folder / GRID}: 'differ' must list what the rows differ in, as texts")
    return found


def write_grid(folder: Path, budget: Mapping[str, Any], cells: Sequence[Cell], told: Mapping[str, Any]) -> None:
    """Say in a grid's folder what it is.

    Args:
        budget: as it was asked for, with the steps that minutes came to.
        cells: planned.
        told: conditions that all rows share, and what they differ in.
    """
    folder.mkdir(parents=True, exist_ok=True)
    seeds = list(dict.fromkeys(cell.seed for cell in cells))
    rows = [row._asdict() for row in dict.fromkeys(cell.row for cell in cells)]
    write_json({"budget": dict(budget), "rows": rows, "seeds": seeds, **told}, folder / GRID)


def finished(cells: Sequence[Cell], folder: Path) -> dict[Cell, dict[str, Any]]:
    """The records that a grid's folder holds of these cells, found by their conditions, under the cells' labels.

    Raises:
        ValueError: when a record has a cell's labels and other conditions, naming those.
    """
    records = read_records(folder)
    labelled = {tuple(record[label] for label in LABELS): record for record in records}
    for cell in cells:
        record = labelled.get((*cell.row, cell.seed))
        if record is not None and record["conditions_sha256"] != cell.key:
            _refuse(folder, cell, differences(record["conditions"], cell.conditions))
    known = {record["conditions_sha256"]: record for record in records}
    return {cell: {**known[cell.key], **cell.labels} for cell in cells if cell.key in known}


def from_elsewhere(
    cells: Sequence[Cell], others: Sequence[Path], done: Collection[Cell]
) -> dict[Path, dict[Cell, dict[str, Any]]]:
    """The records of cells that other grids have finished, by the folder that each comes from.

    Args:
        cells: planned.
        others: folders of grids.
        done: cells that need no record.

    Raises:
        ValueError: for cells of other conditions, naming those.
    """
    found, taken = {other: finished(cells, other) for other in others}, set(done)
    for other, records in found.items():
        found[other] = {cell: record for cell, record in records.items() if cell not in taken}
        taken |= records.keys()
    return found


def write_record(cell: Cell, record: Mapping[str, Any]) -> None:
    """Finish a cell with a record that was made elsewhere."""
    cell.record.parent.mkdir(parents=True, exist_ok=True)
    write_json(record, cell.record)


def _check_run(cell: Cell, work_dir: Path) -> None:
    """Refuse a run that began under other conditions; where its data lies now is not compared."""
    if not (cell.folder / CONFIG).is_file():
        return
    changed = conditions_among(differences(read(cell.folder / CONFIG), cell.config))
    if changed:
        _refuse(work_dir, cell, changed)


def _refuse(folder: Path, cell: Cell, changed: Mapping[str, tuple[Any, Any]]) -> None:
    raise ValueError(
        f"{folder} holds a comparison under other conditions (of {cell.name}: {named(changed, 'there', 'here')}); give "
        "another --work-dir, or the conditions that it has"
    )

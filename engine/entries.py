"""The images of a split as mmdet's data sets list them, each made when it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np

from ..data.table import Table

__all__ = ["Entries"]


class Entries(Sequence[dict[str, Any]]):
    """An entry for each image, with the annotations that are learnt, in the file's order; crowd regions carry a flag.

    Held as columns, which processes that read pictures share; mmengine would make every entry and pickle them all.

    Args:
        table: of the split.
        folder: of its pictures.
    """

    def __init__(self, table: Table, folder: Path) -> None:
        self.table, self.folder = table, folder
        self.order = np.argsort(table.owners, kind="stable")
        self.ends = np.searchsorted(table.owners[self.order], np.arange(len(table.file_names) + 1))

    def __len__(self) -> int:
        return len(self.table.file_names)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...

    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        place, table = range(len(self))[index], self.table
        width, height = table.image_sizes[place].astype(int).tolist()
        return {
            "img_id": int(table.image_ids[place]),
            "img_path": str(self.folder / table.file_names[place]),
            "width": width,
            "height": height,
            "instances": self._instances(self.order[self.ends[place] : self.ends[place + 1]]),
        }

    def _instances(self, rows: np.ndarray) -> list[dict[str, Any]]:
        table = self.table
        boxes = np.hstack([table.boxes[rows, :2], table.boxes[rows, :2] + table.boxes[rows, 2:]])
        columns = zip(boxes.tolist(), table.labels[rows].tolist(), table.crowd[rows].astype(int).tolist(), strict=True)
        return [{"bbox": box, "bbox_label": label, "ignore_flag": crowd} for box, label, crowd in columns]

"""What is found in images, written down in the forms that other programs read.

A form is a context that gives a function; it is called with every image, in order. What is written gets its name at the
end, whatever ended it, and then holds what was done.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from torchvision.ops import box_convert

from ...data import DataSource
from ...data.files import json_text
from ...heads import Detections
from ..detected import Detected
from ..files import write_bytes
from .naming import Named
from .reading import Picture

PREDICTIONS, COCO, TABLE, LABELS, CLASSES = "predictions.json", "coco.json", "predictions.csv", "labels", "classes.txt"
COLUMNS = ("file", "label", "score", "x1", "y1", "x2", "y2")


@dataclass(frozen=True)
class Found:
    """An image file, what was read of it, and what was found.

    Attributes:
        file: and its names.
        picture: what was read.
        detections: in pixels of the image.
        drawing: its file's name, or None.
    """

    file: Named
    picture: Picture
    detections: Detections
    drawing: str | None = None

    def rows(self) -> Iterator[tuple[list[float], float, int]]:
        """Box (xyxy pixels), score and label of each detection, scores falling."""
        return rows_of(self.detections)


Write = Callable[[Found], None]


@contextmanager
def as_list(folder: Path, source: DataSource) -> Iterator[Write]:
    """PREDICTIONS: an object per image with file, width, height, drawing, and detections with label, score and box (xyxy)."""
    with json_list(folder / PREDICTIONS) as write:
        yield lambda found: write(entry_of(found, source.classes))


@contextmanager
def as_coco(folder: Path, source: DataSource) -> Iterator[Write]:
    """COCO: results as COCO's evaluation reads them, with the data's category ids and boxes as x, y, width, height."""
    with json_list(folder / COCO) as write:

        def add(found: Found) -> None:
            own = {"image_id": found.file.image_id, "file_name": found.file.path.name}
            parts = found.detections
            instances = {"bboxes": parts.boxes, "scores": parts.scores, "labels": parts.labels}
            for entry in Detected.in_image(own["image_id"], instances).entries(source.category_ids):
                write({**own, **entry})

        yield add


@contextmanager
def as_table(folder: Path, source: DataSource) -> Iterator[Write]:
    """TABLE: a row per detection, COLUMNS."""
    with written(folder / TABLE) as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        yield lambda found: table.writerows(
            [str(found.file.path), source.classes[label], f"{score:.4f}", *(f"{side:.2f}" for side in box)]
            for box, score, label in found.rows()
        )


@contextmanager
def as_yolo(folder: Path, source: DataSource) -> Iterator[Write]:
    """LABELS: a file per image, a line per detection: label, centre x and y, width, height as shares of the image, score.

    CLASSES names the labels, in order.
    """
    write_bytes("".join(f"{' '.join(name.split())}\n" for name in source.classes).encode(), folder / CLASSES)
    (folder / LABELS).mkdir()

    def add(found: Found) -> None:
        sizes = found.detections.boxes.new_tensor([found.picture.width, found.picture.height] * 2)
        shares = box_convert((found.detections.boxes / sizes).clamp(0, 1), "xyxy", "cxcywh").tolist()
        lines = [
            f"{label} {' '.join(f'{share:.6f}' for share in box)} {score:.4f}\n"
            for box, (_, score, label) in zip(shares, found.rows(), strict=True)
        ]
        write_bytes("".join(lines).encode(), folder / LABELS / f"{found.file.stem}.txt")

    yield add


FORMS: Mapping[str, Callable[[Path, DataSource], AbstractContextManager[Write]]] = {
    "json": as_list,
    "coco": as_coco,
    "yolo": as_yolo,
    "csv": as_table,
}


def entry_of(found: Found, classes: Sequence[str]) -> dict[str, Any]:
    """What PREDICTIONS says of an image."""
    return {
        "file": str(found.file.path),
        "width": found.picture.width,
        "height": found.picture.height,
        "drawing": found.drawing,
        "detections": listed(found.detections, classes),
    }


def listed(found: Detections, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Detections with label, score and box (xyxy pixels)."""
    return [
        {"label": classes[label], "score": round(score, 4), "box": [round(side, 2) for side in box]}
        for box, score, label in rows_of(found)
    ]


def rows_of(found: Detections) -> Iterator[tuple[list[float], float, int]]:
    """Box (xyxy pixels), score and label of each detection, scores falling."""
    return zip(found.boxes.tolist(), found.scores.tolist(), found.labels.tolist(), strict=True)


@contextmanager
def json_list(path: Path) -> Iterator[Callable[[Any], None]]:
    """Writes a JSON list entry by entry."""
    before = "["

    def write(entry: Any) -> None:
        nonlocal before
        file.write(f"{before}\n{json_text(entry)}")
        before = ","

    with written(path) as file:
        try:
            yield write
        finally:
            file.write("\n]\n" if before == "," else "[]\n")


@contextmanager
def written(path: Path) -> Iterator[IO[str]]:
    """A text file, written aside; it gets its name at the end, whatever ended it. Names of files in it keep their bytes."""
    aside = path.with_name(path.name + ".part")
    with aside.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        try:
            yield file
        finally:
            file.flush()
            aside.replace(path)

"""A few pictures of a data set as a set of their own, to train and evaluate on the same: can the model learn at all?"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from .files import json_text, new_folder, written_aside
from .reader import read_annotations, read_document
from .sources import DataSource
from .table import Table

__all__ = ["make_subset"]


def make_subset(source: DataSource, directory: str | Path, images: int) -> int:
    """Copy the first training pictures that hold objects; train.json and val.json of the new set are the same.

    Written aside and renamed, so an interruption leaves nothing half-written.

    Args:
        source: the data set to take from.
        directory: a new or empty folder.
        images: how many pictures, at least 1.

    Returns:
        The number of boxes.

    Raises:
        ValueError: when there are not so many, or for annotations that forbid training.
        FileExistsError: when `directory` holds anything.
        FileNotFoundError: when a picture is missing.
    """
    directory = new_folder(Path(directory))
    place = source.place("train")
    document, table = read_document(place).content, read_annotations(place).table
    places = _first_with_objects(table, images)
    chosen = [document["images"][index] for index in places]
    ids = {image["id"] for image in chosen}
    annotations = [entry for entry in document["annotations"] if entry["image_id"] in ids]
    with written_aside(directory) as aside:
        for index in places:
            _copy(place.images, aside / "images", table.file_names[index])
        text = json_text({**document, "images": chosen, "annotations": annotations})
        for split in ("train", "val"):
            (aside / f"{split}.json").write_text(text, encoding="utf-8")
    return len(annotations)


def _first_with_objects(table: Table, count: int) -> list[int]:
    """Places of images in the file's list, of which nothing is left out when there is no error."""
    found = np.unique(table.owners[table.objects]).tolist()
    if not 1 <= count <= len(found):
        raise ValueError(f"images: expected 1 to {len(found)}, the training pictures with objects, got {count}")
    return found[:count]


def _copy(source: Path, target: Path, name: str) -> None:
    (target / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source / name, target / name)

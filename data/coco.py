"""Where a data set lies and what its classes are, from a folder or a name.

Label l of a detector stands for the category with the l-th smallest id, whatever gaps the ids have and in whatever
order the file lists them: `DataSource.category_ids[l]` is its id and `DataSource.classes[l]` its name.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from .reader import read_annotations
from .synthetic import make_dataset

__all__ = ["DATASETS", "SPLITS", "DataSource", "cache_folder", "read_categories", "resolve"]

SPLITS = ("train", "val")

DATASETS = {
    "synthetic": "generated shapes, five classes; made on first use",
    "coco": "COCO 2017 in its own layout, below a root folder",
}


@dataclass(frozen=True)
class DataSource:
    """The files of a data set and its classes in order of category id."""

    name: str
    train_annotations: Path
    val_annotations: Path
    train_images: Path
    val_images: Path
    classes: tuple[str, ...]
    category_ids: tuple[int, ...]

    @property
    def label_of_category(self) -> dict[int, int]:
        """Label (0-based, without gaps) of each category id."""
        return {category: label for label, category in enumerate(self.category_ids)}


def resolve(
    data: str | Path,
    root: str | Path | None = None,
    *,
    images: int = 2000,
    seed: int = 0,
    size: int = 160,
    progress: Callable[[int, int], None] | None = None,
) -> DataSource:
    """Find a data set.

    `data` is "synthetic" (see `make_dataset` for `images`, `seed`, `size` and `progress`; made in the cache folder on
    first use), "coco" (COCO 2017 below `root`), or a folder with train.json, val.json and images/. A folder
    that has one of these names is written ./coco.

    Raises ValueError for an unknown name, with the nearest known one, and for unusable categories; FileNotFoundError
    naming the missing piece of a folder.
    """
    if root is not None and data != "coco":
        raise ValueError(
            f"root belongs to the data set 'coco' and must be left out for {str(data)!r}, got {str(root)!r}"
        )
    if data == "synthetic":
        folder = cache_folder() / f"synthetic-images{images}-size{size}-seed{seed}"
        make_dataset(folder, images=images, seed=seed, size=size, progress=progress, replace=True)
        return _from_folder(folder, "synthetic")
    if data == "coco":
        return _from_coco(root)
    if not Path(data).is_dir():
        raise _unknown(str(data))
    name = Path(data).resolve().name
    return _from_folder(Path(data), f"{name}-folder" if name in DATASETS else name)


def cache_folder() -> Path:
    """`$DETASSIGN_CACHE`, or ~/.cache/detassign."""
    return Path(os.environ.get("DETASSIGN_CACHE") or Path.home() / ".cache" / "detassign").expanduser()


def read_categories(path: str | Path) -> dict[int, str]:
    """Category names by id, ids ascending, of a COCO annotation file.

    Raises FileNotFoundError, and ValueError naming the file when it is no JSON or its categories are unusable.
    """
    table, findings = read_annotations(path)
    if table is not None:
        return table.classes
    kind = FileNotFoundError if findings[0].code == "missing-file" else ValueError
    sentence = findings[0].sentence
    raise kind(sentence if str(path) in sentence else f"{path}: {sentence}")


def _from_folder(folder: Path, name: str) -> DataSource:
    return _source(name, folder / "train.json", folder / "val.json", folder / "images", folder / "images")


def _from_coco(root: str | Path | None) -> DataSource:
    if root is None:
        raise ValueError(
            "the data set 'coco' needs a root (--data-root), the folder with annotations/, train2017/ and val2017/"
        )
    root = Path(root)
    train, val = (root / "annotations" / f"instances_{split}2017.json" for split in ("train", "val"))
    return _source("coco", train, val, root / "train2017", root / "val2017")


def _source(name: str, train: Path, val: Path, train_images: Path, val_images: Path) -> DataSource:
    for path, exists in ((train, train.is_file()), (val, val.is_file())):
        if not exists:
            raise FileNotFoundError(f"the data set {name!r} needs the annotation file {path}, which does not exist")
    for path in (train_images, val_images):
        if not path.is_dir():
            raise FileNotFoundError(f"the data set {name!r} needs the folder of images {path}, which does not exist")
    categories = read_categories(train)
    if read_categories(val) != categories:
        raise ValueError(f"{train} and {val} must list the same categories with the same ids")
    return DataSource(name, train, val, train_images, val_images, tuple(categories.values()), tuple(categories))


def _unknown(data: str) -> Exception:
    """FileNotFoundError for what looks like a path, ValueError for what looks like a name, with the nearest match."""
    path = Path(data)
    siblings = [p.name for p in path.parent.iterdir() if p.is_dir()] if path.parent.is_dir() else []
    if path.exists():
        return ValueError(f"{data} is a file; data must be a folder with train.json, val.json and images/")
    if path.name != data:
        nearest = [str(path.parent / name) for name in get_close_matches(path.name, siblings, 1)]
        return FileNotFoundError(f"the data folder {data} does not exist{_did_you_mean(nearest)}")
    nearest = get_close_matches(data, [*DATASETS, *siblings], 1)
    known = " and ".join(repr(name) for name in DATASETS)
    return ValueError(f"{data!r} is neither a folder nor one of {known}{_did_you_mean(nearest)}")


def _did_you_mean(nearest: list[str]) -> str:
    return f"; did you mean {nearest[0]!r}?" if nearest else ""

"""Where a data set lies and what its classes are, from a folder or a name.

Label l of a detector stands for the category with the l-th smallest id, whatever gaps the ids have and in whatever
order the file lists them: `DataSource.category_ids[l]` is its id and `DataSource.classes[l]` its name.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from .forms import SPLITS, Place, find
from .reader import read_annotations
from .synthetic import make_dataset

__all__ = [
    "DATASETS",
    "NEEDED",
    "SPLITS",
    "DataSource",
    "Generated",
    "Located",
    "cache_folder",
    "locate",
    "read_categories",
    "resolve",
]

NEEDED = ("train", "val")  # splits of every set to train on

DATASETS = {
    "synthetic": "generated shapes, five classes; made on first use",
    "coco": "COCO 2017 in its own layout, below a root folder",
}


@dataclass(frozen=True)
class DataSource:
    """The files of a data set and its classes in order of category id.

    What annotations are is the form's to say: a JSON file, YOLO's data.yaml, VOC's list or folder.
    """

    name: str
    train_annotations: Path
    val_annotations: Path
    train_images: Path
    val_images: Path
    classes: tuple[str, ...]
    category_ids: tuple[int, ...]
    test_annotations: Path | None = None
    test_images: Path | None = None
    form: str = "coco"

    @property
    def label_of_category(self) -> dict[int, int]:
        """Label (0-based, without gaps) of each category id."""
        return {category: label for label, category in enumerate(self.category_ids)}

    @property
    def splits(self) -> tuple[str, ...]:
        """Those that there are."""
        return SPLITS if self.test_annotations else NEEDED

    def place(self, split: str) -> Place:
        """Where a split lies.

        Raises:
            ValueError: when there is none of that name.
        """
        if split not in self.splits:
            raise ValueError(f"data {self.name}: has no split {split!r}, only {' and '.join(self.splits)}")
        return Place(self.form, split, getattr(self, f"{split}_annotations"), getattr(self, f"{split}_images"))


class Located(NamedTuple):
    """A data set whose files were found, with whatever splits it has."""

    name: str
    places: dict[str, Place]


class Generated(NamedTuple):
    """What "synthetic" is to hold; see `make_dataset`."""

    images: int = 2000
    seed: int = 0
    size: int = 160


USUAL = Generated()


def resolve(
    data: str | Path,
    root: str | Path | None = None,
    *,
    images: int = 2000,
    seed: int = 0,
    size: int = 160,
    progress: Callable[[int, int], None] | None = None,
) -> DataSource:
    """Find a data set to train on.

    `data` is "synthetic" (see `make_dataset` for `images`, `seed`, `size` and `progress`; made in the cache folder on
    first use), "coco" (COCO 2017 below `root`), or a folder in COCO's, YOLO's or Pascal VOC's form (or YOLO's data.yaml).
    A folder that has one of these names is written ./coco.

    Raises ValueError for an unknown name, with the nearest known one, for a folder that is no data set, and for unusable
    categories; FileNotFoundError naming the missing piece of a set.
    """
    name, places = locate(data, root, Generated(images, seed, size), progress)
    for split in NEEDED:
        if split not in places:
            raise FileNotFoundError(f"the data set {name!r} {missing_split(split, places)}")
    for place in places.values():
        if not place.annotations.exists():
            raise FileNotFoundError(
                f"the data set {name!r} needs the annotation file {place.annotations}, which does not exist"
            )
        if not place.images.is_dir():
            raise FileNotFoundError(
                f"the data set {name!r} needs the folder of images {place.images}, which does not exist"
            )
    return _source(name, places)


def locate(
    data: str | Path,
    root: str | Path | None = None,
    generated: Generated = USUAL,
    progress: Callable[[int, int], None] | None = None,
) -> Located:
    """Find a data set that may lack splits; `generated` is what "synthetic" is, all else and what is raised as of `resolve`."""
    if root is not None and data != "coco":
        raise ValueError(
            f"root belongs to the data set 'coco' and must be left out for {str(data)!r}, got {str(root)!r}"
        )
    if data == "synthetic":
        folder = cache_folder() / "synthetic-images{images}-size{size}-seed{seed}".format_map(generated._asdict())
        make_dataset(folder, **generated._asdict(), progress=progress, replace=True)
        return Located("synthetic", find(folder))
    if data == "coco":
        return Located("coco", _coco_places(root))
    path = Path(data)
    if not path.exists():
        raise _unknown(str(data))
    return Located(_name(path), find(path))


def missing_split(split: str, places: Mapping[str, Place]) -> str:
    """What to say of a set without it."""
    return f"needs a {split} split and has {' and '.join(places)} alone; 'detassign data split' makes one"


def cache_folder() -> Path:
    """`$DETASSIGN_CACHE`, or ~/.cache/detassign."""
    return Path(os.environ.get("DETASSIGN_CACHE") or Path.home() / ".cache" / "detassign").expanduser()


def read_categories(path: str | Path | Place) -> dict[int, str]:
    """Category names by id, ids ascending, of a COCO annotation file or a split.

    Raises FileNotFoundError, and ValueError naming the file when it is no JSON or its categories are unusable.
    """
    table, findings = read_annotations(path)
    if table is not None:
        return table.classes
    kind = FileNotFoundError if findings[0].code == "missing-file" else ValueError
    sentence, file = findings[0].sentence, path.annotations if isinstance(path, Place) else path
    raise kind(sentence if str(file) in sentence else f"{file}: {sentence}")


def _name(path: Path) -> str:
    """What a set in a folder is called; the names of `DATASETS` are theirs."""
    name = (path if path.is_dir() else path.parent).resolve().name
    return f"{name}-folder" if name in DATASETS else name


def _coco_places(root: str | Path | None) -> dict[str, Place]:
    if root is None:
        raise ValueError(
            "the data set 'coco' needs a root (--data-root), the folder with annotations/, train2017/ and val2017/"
        )
    root = Path(root)
    return {
        split: Place("coco", split, root / "annotations" / f"instances_{split}2017.json", root / f"{split}2017")
        for split in NEEDED
    }


def _source(name: str, places: Mapping[str, Place]) -> DataSource:
    categories = read_categories(places["train"])
    for split, place in places.items():
        if read_categories(place) != categories:
            train = places["train"].annotations
            raise ValueError(
                f"{train} and {place.annotations} must list the same categories with the same ids ({split})"
            )
    files = {f"{split}_annotations": place.annotations for split, place in places.items()}
    folders = {f"{split}_images": place.images for split, place in places.items()}
    classes, ids = tuple(categories.values()), tuple(categories)
    return DataSource(name=name, classes=classes, category_ids=ids, form=places["train"].form, **files, **folders)


def _unknown(data: str) -> Exception:
    """FileNotFoundError for what looks like a path, ValueError for what looks like a name, with the nearest match."""
    path = Path(data)
    siblings = [p.name for p in path.parent.iterdir() if p.is_dir()] if path.parent.is_dir() else []
    if path.name != data:
        nearest = [str(path.parent / name) for name in get_close_matches(path.name, siblings, 1)]
        return FileNotFoundError(f"the data folder {data} does not exist{_did_you_mean(nearest)}")
    nearest = get_close_matches(data, [*DATASETS, *siblings], 1)
    known = " and ".join(repr(name) for name in DATASETS)
    return ValueError(f"{data!r} is neither a folder nor one of {known}{_did_you_mean(nearest)}")


def _did_you_mean(nearest: list[str]) -> str:
    return f"; did you mean {nearest[0]!r}?" if nearest else ""

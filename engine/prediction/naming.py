"""What files are called in what is written of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ...data.files import read_json
from ..notes import note


@dataclass(frozen=True)
class Named:
    """A file to predict on.

    Attributes:
        path: as it was named.
        stem: that no other file of the run has; what is written of this one alone is called so.
        image_id: what COCO results call it.
    """

    path: Path
    stem: str
    image_id: int | str


def named(files: Sequence[Path], ids: Path | None = None) -> list[Named]:
    """The files with their names; image ids are those of the annotation file `ids`, where it is given.

    Raises:
        FileNotFoundError, ValueError: for an annotation file that is none, or lacks one of the files.
    """
    numbers = [image_id(file) for file in files] if ids is None else listed_ids(files, ids)
    return [Named(*each) for each in zip(files, distinct_stems(files), numbers, strict=True)]


def image_id(path: Path) -> int | str:
    """The number that a file is named by, as COCO's are, else the file's name.

    >>> image_id(Path("val2017/000000000139.jpg")), image_id(Path("cats/tom.png"))
    (139, 'tom.png')
    """
    return int(path.stem) if path.stem.isascii() and path.stem.isdecimal() else path.name


def listed_ids(files: Sequence[Path], annotations: Path) -> list[int]:
    """The id that an annotation file in COCO form gives each file; of several names that a path ends in the longest counts.

    Raises:
        FileNotFoundError, ValueError: naming the annotation file, and what is wrong with it or which file it lacks.
    """
    content = read_json(annotations)
    images = content.get("images") if isinstance(content, dict) else None
    if not isinstance(images, list) or not all(map(_has_id, images)):
        raise ValueError(f"{annotations}: expected COCO annotations, with images that have an id and a file_name")
    known: dict[str, list[tuple[tuple[str, ...], int]]] = defaultdict(list)
    for image in images:
        parts = PurePosixPath(image["file_name"]).parts
        known[parts[-1] if parts else ""].append((parts, image["id"]))
    return [_id_of(file, known[file.name], annotations) for file in files]


def _id_of(file: Path, candidates: list[tuple[tuple[str, ...], int]], annotations: Path) -> int:
    place = file.absolute().parts
    fitting = [(len(parts), number) for parts, number in candidates if place[-len(parts) :] == parts]
    if not fitting:
        raise ValueError(f"{annotations}: lists no image {file}; leave the file out, or its ids")
    return max(fitting)[1]


def _has_id(image: object) -> bool:
    return isinstance(image, dict) and isinstance(image.get("id"), int) and isinstance(image.get("file_name"), str)


def warn_of_shared_ids(images: Sequence[Named]) -> None:
    """Tell of files that COCO results cannot tell apart."""
    first: dict[int | str, Path] = {}
    shared = [
        (image, first[image.image_id]) for image in images if first.setdefault(image.image_id, image.path) != image.path
    ]
    if shared:
        image, other = shared[0]
        more = f", and {len(shared) - 1} more files share theirs" if len(shared) > 1 else ""
        note(
            f"coco.json: {other} and {image.path} have the same image id, {image.image_id}{more}; --ids FILE takes ids from "
            "annotations"
        )


def distinct_stems(files: Sequence[Path]) -> list[str]:
    """A name for each file's own files; no two are the same, on file systems without upper case either.

    >>> distinct_stems([Path("a/cat.jpg"), Path("b/cat.png"), Path("dog.jpg")])
    ['cat', 'cat-2', 'dog']
    """
    taken: set[str] = set()
    names = []
    for file in files:
        name, number = file.stem, 1
        while name.casefold() in taken:
            number += 1
            name = f"{file.stem}-{number}"
        taken.add(name.casefold())
        names.append(name)
    return names

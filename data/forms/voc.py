"""Pascal VOC's form: an XML file per picture, in VOC's own folders or beside the pictures, as Roboflow exports them.

Classes are those of classes.txt or CVAT's labelmap.txt, and where there is neither, all names of the set by the alphabet, which
is VOC's own order. What VOC calls difficult is neither learnt nor counted as a miss, as its evaluation has it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from ..files import read_text
from ..pictures import SUFFIXES, read_pictures
from ..report import Finding, finding
from .place import ALIASES, Document, Place, counted, distinct, named_pictures, other_areas
from .voc_xml import DECIMALS, Annotated, Marked, parse, to_corners, to_pixels, xml_of
from .yolo_settings import CLASSES, read_settings

if TYPE_CHECKING:
    from ..parts import Part

__all__ = ["files", "find", "read", "write"]

_FOLDERS, _PICTURES = ("Annotations", "annotations"), ("JPEGImages", "images", "Images")
_LABEL_MAP = "labelmap.txt"
_NOT_IN_XML = re.compile(r"[^ -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_FLAG = re.compile(r"\s+-?[01]$")


def find(path: Path) -> dict[str, Place]:
    """Splits in ImageSets/Main, in folders train, valid and test, or the whole as one; see `forms.find`."""
    if not path.is_dir():
        return {}
    inner = next((path / name for name in _FOLDERS if _holds_xml(path / name)), None)
    if inner is None:
        named = {split: next((path / name for name in names if _holds_xml(path / name)), None)
                 for split, names in ALIASES.items()}  # fmt: skip
        beside = named if any(named.values()) else {"train": path if _holds_xml(path) else None}
        return {split: Place("voc", split, place, place) for split, place in beside.items() if place}
    images = next((path / name for name in _PICTURES if (path / name).is_dir()), path)
    return {split: Place("voc", split, list_, images) for split, list_ in (_lists(path) or {"train": inner}).items()}


def files(place: Place) -> list[Path]:
    """The files that a split's annotations are made of; those of the other splits take part in naming the classes."""
    root, places = _set_of(place)
    lists = [each.annotations for each in places if each.annotations.is_file()]
    classes = [root / name for name in (CLASSES, _LABEL_MAP) if (root / name).is_file()]
    return [*classes, *lists, *(file for each in places for file in _annotation_files(each) if file.is_file())]


def read(place: Place) -> Document:
    """A split in COCO's terms: boxes from 0, categories numbered from 1, pictures in the order of lists or names.

    Raises:
        OSError, ValueError: when a list or the classes cannot be read.
    """
    root, places = _set_of(place)
    where = f"{place.annotations.name}{'/' * place.annotations.is_dir()}"
    own = _annotation_files(place)
    parsed = {file: parse(file) for each in places for file in _annotation_files(each) if file.is_file()}
    known = _classes(root, parsed.values())
    listed = [file for file in own if file in parsed and parsed[file].fault is None]
    sizes, owners, findings = _sized(place, listed, [parsed[file] for file in listed], where)
    is_whole = all(each.is_whole for each in parsed.values())
    annotations, origins, strange = [], [], []
    for number, file in owners.items():
        for index, found in enumerate(parsed[file].objects, 1):
            if found.name not in known:
                strange.append(f"{found.name!r} in {file.name}")
                continue
            annotations.append(_annotation(len(annotations) + 1, number, known[found.name], found, is_whole))
            origins.append(f"{file.name}, object {index}")
    text = f"names of classes are not in {CLASSES} or {_LABEL_MAP}"
    return Document(
        {
            "images": named_pictures(sizes),
            "annotations": annotations,
            "categories": [{"id": number, "name": name} for name, number in known.items()],
        },
        where,
        origins,
        [
            *_faults(place, own, parsed, where),
            *finding("error", "unknown-category", where, text, strange),
            *findings,
            _convention(is_whole, where),
        ],
    )


def write(parts: Mapping[str, Part], folder: Path) -> tuple[dict[str, list[Path]], list[str]]:
    """Annotations/*.xml, ImageSets/Main/train.txt, … and classes.txt.

    Where all boxes of the set are whole numbers, corners are VOC's pixels, counted from 1 and both inside; else they are
    coordinates from 0 with their decimals. `read` tells which it was, so boxes come back as they were.

    Returns:
        Where each split's pictures belong, JPEGImages; and what the form cannot hold.

    Raises:
        ValueError: for names of classes and pictures that lists and XML cannot hold.
    """
    tables = {split: part.table for split, part in parts.items()}
    is_whole = all((table.boxes.round(DECIMALS) == table.boxes.round()).all() for table in tables.values())
    _refuse_unwritable("class", next(iter(tables.values())).classes.values())
    (folder / "Annotations").mkdir()
    (folder / "ImageSets" / "Main").mkdir(parents=True)
    places, taken, areas = {}, set(), 0
    for split, table in tables.items():
        names, classes = (
            distinct([name.replace("/", "-").replace("\\", "-") for name in parts[split].names], taken),
            [*table.classes.values()],
        )
        _refuse_unwritable("picture", [*names, *(Path(name).stem for name in names)])
        objects: list[list[Marked]] = [[] for _ in names]
        for owner, label, box, crowd in zip(table.owners, table.labels, table.boxes.tolist(), table.crowd, strict=True):
            objects[owner].append(Marked(classes[label], to_corners(box, is_whole), bool(crowd)))
        for name, size, each in zip(names, table.image_sizes.astype(int).tolist(), objects, strict=True):
            (folder / "Annotations" / f"{Path(name).stem}.xml").write_bytes(xml_of(name, size, each))
        listed = "".join(f"{Path(name).stem}\n" for name in names)
        (folder / "ImageSets" / "Main" / f"{split}.txt").write_text(listed, encoding="utf-8")
        places[split] = [folder / "JPEGImages" / name for name in names]
        areas += other_areas(table)
    (folder / CLASSES).write_text("".join(f"{name}\n" for name in classes), encoding="utf-8")
    return places, counted(areas, "areas that are not width times height, as of masks")


def _refuse_unwritable(what: str, names: Iterable[str]) -> None:
    """Lists have a name a line, without spaces around it, and XML 1.0 has not all characters."""
    odd = next((name for name in names if name.splitlines() != [name.strip()] or _NOT_IN_XML.search(name)), None)
    if odd is not None:
        raise ValueError(
            f"the {what} {odd!r} cannot be written as VOC: a name is one line, without spaces at its ends, control "
            "characters and others that XML has not; rename it, or write COCO's form"
        )


def _convention(is_whole: bool, where: str) -> Finding:
    """Which of the two ways in which people write corners was read."""
    whole = "corners are read as VOC's pixels, counted from 1 and both inside: x is xmin - 1, the width xmax - xmin + 1"
    other = "corners are read as coordinates from 0, since some are 0 or no whole numbers: the width is xmax - xmin"
    return Finding("info", "voc-corners", where, whole if is_whole else other)


def _annotation(number: int, image: int, category: int, found: Any, is_whole: bool) -> dict[str, Any]:
    x, y, width, height = to_pixels(found.corners, is_whole)
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "bbox": [x, y, width, height],
        "area": width * height,
        "iscrowd": int(found.difficult),
    }


def _lists(root: Path) -> dict[str, Path]:
    folder = root / "ImageSets" / "Main"
    names = {split: next((folder / f"{name}.txt" for name in found if (folder / f"{name}.txt").is_file()), None)
             for split, found in ALIASES.items()}  # fmt: skip
    if names["train"] is None and (folder / "trainval.txt").is_file():
        names["train"] = folder / "trainval.txt"
    return {split: file for split, file in names.items() if file}


def _holds_xml(folder: Path) -> bool:
    return any(folder.glob("*.xml"))


def _set_of(place: Place) -> tuple[Path, list[Place]]:
    """The folder of a split's data set, and all its splits."""
    start = place.annotations
    above = [start.parents[2]] if start.is_file() else [start.parent, start]
    for root in above:
        places = list(find(root).values())
        if place in places:
            return root, places
    return start.parent, [place]


def _annotation_files(place: Place) -> list[Path]:
    if place.annotations.is_dir():
        return sorted(place.annotations.glob("*.xml"))
    root = place.annotations.parents[2]
    folder = next((root / name for name in _FOLDERS if (root / name).is_dir()), root / _FOLDERS[0])
    lines = read_text(place.annotations).splitlines()
    return [_listed(folder, line.strip()) for line in lines if line.strip()]


def _listed(folder: Path, line: str) -> Path:
    """The file of a picture that a list names, perhaps with spaces; lists of one class say -1, 0 or 1 behind the name."""
    names = [PurePosixPath(text.replace("\\", "/")).name for text in (line, _FLAG.sub("", line))]
    files = [folder / f"{name}.xml" for plain in names for name in (plain, _stem(plain))]
    return next((file for file in files if file.is_file()), files[-1])


def _stem(name: str) -> str:
    """A picture's name without its folder and suffix, if it has one of a picture's: names may have dots."""
    path = Path(name.replace("\\", "/"))
    return path.stem if path.suffix.lower() in SUFFIXES else path.name


def _classes(root: Path, parsed: Iterable[Annotated]) -> dict[str, int]:
    """Numbers of the classes by name, from 1."""
    if (root / CLASSES).is_file():
        names: Iterable[str] = read_settings(root / CLASSES).classes
    elif (root / _LABEL_MAP).is_file():
        lines = read_text(root / _LABEL_MAP).splitlines()
        given = [line.split(":")[0].strip() for line in lines if line.strip() and not line.startswith("#")]
        names = dict.fromkeys(name for name in given if name and name != "background")
    else:
        names = sorted({found.name for each in parsed for found in each.objects})
    return {name: number for number, name in enumerate(names, 1)}


def _sized(
    place: Place, files: list[Path], parsed: list[Annotated], where: str
) -> tuple[list[tuple[str, int, int]], dict[int, Path], list[Finding]]:
    """Name, width and height of each picture, its file by its number from 1, and what is wrong with them."""
    by_stem: dict[str, list[str]] = {}
    for name in sorted(os.listdir(place.images)):
        if Path(name).suffix.lower() in SUFFIXES:
            by_stem.setdefault(Path(name).stem, []).append(name)
    names, others = [], []
    for file, each in zip(files, parsed, strict=True):
        own = by_stem.get(file.stem, [])
        if own and each.picture and _stem(each.picture) != file.stem:
            others.append(f"{file.name} names {each.picture!r}")
        stated = PurePosixPath(each.picture.replace("\\", "/")).name if each.picture else f"{file.stem}.jpg"
        names.append(stated if stated in own or not own else own[0])
    unsized = [index for index, each in enumerate(parsed) if each.size is None]
    headers = read_pictures([place.images / names[index] for index in unsized])
    measured = {index: picture.size for index, picture in zip(unsized, headers, strict=True) if picture}
    sizes, owners, lost = [], {}, []
    for index, (name, each) in enumerate(zip(names, parsed, strict=True)):
        size = each.size or measured.get(index)
        if size is None:
            lost.append(repr(name))
            continue
        sizes.append((name, *size))
        owners[len(sizes)] = files[index]
    given = "the picture that has the file's own name is taken, though <filename> names another"
    unread = "pictures whose files give no <size> cannot be opened"
    return sizes, owners, [
        *finding("warning", "other-picture", where, given, others),
        *finding("info", "no-size", where, "files give no <size>, which is read from the pictures", list(map(repr, (
            names[index] for index in measured)))),
        *finding("error", "unreadable-image", where, unread, lost),
    ]  # fmt: skip


def _faults(place: Place, own: list[Path], parsed: dict[Path, Annotated], where: str) -> Iterator[Finding]:
    absent = [file.name for file in own if file not in parsed]
    yield from finding("error", "missing-annotation", where, "listed pictures have no annotation file", absent)
    if place.annotations.is_dir():
        stems = {file.stem for file in own}
        bare = [
            repr(name) for name in sorted(os.listdir(place.images)) if _stem(name) != name and _stem(name) not in stems
        ]
        text = "pictures have no annotation file and are left out; one without objects says that none is there"
        yield from finding("warning", "image-without-annotation", where, text, bare)
    broken: dict[str, list[str]] = {}
    for file in own:
        each = parsed.get(file)
        for fault in ([each.fault] if each and each.fault else []) + (each.odd if each else []):
            broken.setdefault(fault, []).append(file.name)
    for text, names in broken.items():
        yield from finding("error", "annotation-file", where, text, names)

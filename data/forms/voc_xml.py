"""One annotation file of Pascal VOC. It may come from anywhere: no entities, no document types, no unbounded size."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from ..files import read_bytes

__all__ = ["DECIMALS", "Annotated", "Marked", "parse", "to_corners", "to_pixels", "xml_of"]

DECIMALS = 6  # of corners; a millionth of a pixel
_LARGEST = 2**24  # bytes
_CORNERS = ("xmin", "ymin", "xmax", "ymax")


class Marked(NamedTuple):
    """An object: its class, corners (xmin, ymin, xmax, ymax) as they are written, and whether it is difficult."""

    name: str
    corners: tuple[float, float, float, float]
    difficult: bool


class Annotated(NamedTuple):
    """What a file says of its picture.

    Attributes:
        picture: the name that it gives, if it does.
        size: width and height that it gives, if they are whole and above 0.
        objects: those that have a class and a box.
        odd: what is wrong with others.
        fault: why nothing can be read of the file.
    """

    picture: str | None = None
    size: tuple[int, int] | None = None
    objects: tuple[Marked, ...] = ()
    odd: list[str] = []  # noqa: RUF012
    fault: str | None = None

    @property
    def is_whole(self) -> bool:
        """Whether all corners can be pixels that are counted from 1."""
        return all(value >= 1 and float(value).is_integer() for each in self.objects for value in each.corners)


class _NoDoctype(ElementTree.TreeBuilder):
    """Refuses a document type, which alone can declare entities, before anything of it is read."""

    def doctype(self, name: str, public: str | None, system: str | None) -> None:
        raise ValueError("annotation files with a document type are refused: entities may be declared there")


def parse(path: Path) -> Annotated:
    """Read a file; nothing is raised."""
    try:
        content = read_bytes(path, _LARGEST)
    except OSError:
        return Annotated(fault="annotation files cannot be opened")
    except ValueError:
        return Annotated(fault="annotation files are too large")
    try:
        root = ElementTree.fromstring(content, ElementTree.XMLParser(target=_NoDoctype()))
    except (ElementTree.ParseError, LookupError):  # of syntax, of encodings
        return Annotated(fault="annotation files are no XML")
    except ValueError as error:
        return Annotated(fault=str(error))
    objects, odd = [], []
    for element in root.iter("object"):
        name, corners = (element.findtext("name") or "").strip(), _corners(element.find("bndbox"))
        if not name:
            odd.append("objects have no <name>")
        elif corners is None:
            odd.append("objects have no <bndbox> of four numbers")
        else:
            objects.append(Marked(name, corners, (element.findtext("difficult") or "").strip() == "1"))
    return Annotated((root.findtext("filename") or "").strip() or None, _size(root), tuple(objects), odd)


def to_pixels(corners: tuple[float, float, float, float], is_whole: bool) -> list[float]:
    """x, y, width, height from 0, of corners that are pixels counted from 1 and both inside, or coordinates from 0.

    >>> to_pixels((1, 1, 640, 480), is_whole=True), to_pixels((0.5, 0, 10, 4), is_whole=False)
    ([0, 0, 640, 480], [0.5, 0, 9.5, 4])
    """
    left, top, right, bottom = corners
    first = 1 if is_whole else 0
    return [round(value, DECIMALS) for value in (left - first, top - first, right - left + first, bottom - top + first)]


def to_corners(box: Sequence[float], is_whole: bool) -> tuple[float, ...]:
    """The inverse of `to_pixels`; whole numbers are ints.

    >>> to_corners((0.0, 0.0, 640.0, 480.0), is_whole=True), to_corners((0.5, 0.0, 9.5, 4.0), is_whole=False)
    ((1, 1, 640, 480), (0.5, 0, 10, 4))
    """
    x, y, width, height = box
    first = 1 if is_whole else 0
    values = (round(value, DECIMALS) for value in (x + first, y + first, x + width, y + height))
    return tuple(int(value) if value.is_integer() else value for value in values)


def xml_of(name: str, size: Sequence[int], objects: Sequence[Marked]) -> bytes:
    """A file about a picture of that name, width and height."""
    root = ElementTree.Element("annotation")
    ElementTree.SubElement(root, "filename").text = name
    _fill(ElementTree.SubElement(root, "size"), {"width": size[0], "height": size[1], "depth": 3})
    for each in objects:
        element = ElementTree.SubElement(root, "object")
        _fill(element, {"name": each.name, "truncated": 0, "difficult": int(each.difficult)})
        _fill(ElementTree.SubElement(element, "bndbox"), dict(zip(_CORNERS, each.corners, strict=True)))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="utf-8")


def _fill(element: ElementTree.Element, values: Mapping[str, object]) -> None:
    for name, value in values.items():
        ElementTree.SubElement(element, name).text = str(value)


def _corners(box: ElementTree.Element | None) -> tuple[float, float, float, float] | None:
    try:
        values = tuple(float(box.findtext(name)) for name in _CORNERS)
    except (AttributeError, TypeError, ValueError):
        return None
    return values if all(map(math.isfinite, values)) else None


def _size(root: ElementTree.Element) -> tuple[int, int] | None:
    try:
        width, height = (float(root.findtext(f"size/{name}")) for name in ("width", "height"))
    except (TypeError, ValueError):
        return None
    whole = all(0 < side < 10**6 and side.is_integer() for side in (width, height))
    return (int(width), int(height)) if whole else None

"""Fonts for names in any script: what is drawn can be read, or is a number."""

from __future__ import annotations

import unicodedata
import warnings
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

import matplotlib
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font
from PIL import ImageFont

from ..words import printable

__all__ = [
    "DEFAULT",
    "Lettering",
    "class_lettering",
    "font_of_size",
    "lettering",
    "style_of",
    "title_lettering",
    "warn_of_missing_letters",
]

DEFAULT = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"  # Latin, Greek, Cyrillic and more
MOST_GLYPHS = 65_535  # that a font file can hold: one that claims more letters draws placeholders
UNUSUAL = ("bold", "italic", "oblique", "light", "thin", "black", "mono")  # in a file's name


class Lettering(NamedTuple):
    """A text in one line and the font file that has its letters."""

    text: str
    font: Path


@lru_cache(maxsize=4096)
def lettering(text: str, otherwise: str) -> Lettering:
    """A text as it can be drawn: in the default font, one of the system's that has its letters, or `otherwise`."""
    line = " ".join("".join(map(_visible, printable(text))).split())
    letters = frozenset(map(ord, line)) - {ord(" ")}
    font = _font_with(letters)
    return Lettering(line, font) if line and font else Lettering(otherwise, DEFAULT)


def class_lettering(classes: Sequence[str], label: int, longest: int | None = None) -> Lettering:
    """A class's name, of which at most `longest` letters are shown, or its number where no font has them."""
    return lettering(classes[label][:longest], f"#{label}")


def title_lettering(text: str) -> Lettering:
    """A title, with codes for letters where no font has them."""
    return lettering(text, text.encode("ascii", "backslashreplace").decode())


def warn_of_missing_letters(classes: Sequence[str]) -> None:
    """One warning about all classes whose names no font can draw."""
    numbers = [f"#{label}" for label in range(len(classes)) if not _font_with_all(classes[label])]
    if numbers:
        named = ", ".join(f"{number} for {classes[int(number[1:])]!r}" for number in numbers[:3])
        more = f" and {len(numbers) - 3} more" if len(numbers) > 3 else ""
        warnings.warn(
            f"no font of this system has all letters of some class names, which are drawn as numbers: {named}{more}; "
            "a font of their script, such as one of the Noto fonts, helps",
            stacklevel=2,
        )


def style_of(font: Path) -> dict[str, Path]:
    """What matplotlib's texts must be told of a font; nothing of the default, whose bold form it finds itself."""
    return {} if font == DEFAULT else {"font": font}


@lru_cache(maxsize=64)
def font_of_size(font: Path, size: int) -> ImageFont.FreeTypeFont:
    """A font for Pillow, `size` in pixels."""
    return ImageFont.truetype(str(font), size)


def _font_with_all(name: str) -> bool:
    return lettering(name, "") != Lettering("", DEFAULT)


def _visible(sign: str) -> str:
    """A sign, or nothing where it only chooses the form of its neighbour."""
    return "" if unicodedata.category(sign) == "Cf" or "\ufe00" <= sign <= "\ufe0f" else sign


@lru_cache(maxsize=256)
def _font_with(letters: frozenset[int]) -> Path | None:
    """The first font that has all letters; system fonts are opened only where the default lacks one."""
    if letters <= _letters_of(DEFAULT):
        return DEFAULT
    return next((font for font in _other_fonts() if letters <= _letters_of(font)), None)


@lru_cache(maxsize=1)
def _other_fonts() -> tuple[Path, ...]:
    """Font files of the system and of matplotlib; upright ones of regular weight and without serifs first."""

    def worth(font: Path) -> tuple[bool, bool, str]:
        name = font.stem.lower()
        return any(kind in name for kind in UNUSUAL), "sans" not in name, name

    system = map(Path, font_manager.findSystemFonts())  # as of now: matplotlib's own list is of an earlier day
    return tuple(sorted({*system, *DEFAULT.parent.glob("*.ttf")}, key=worth))


@cache
def _letters_of(font: Path) -> frozenset[int]:
    """Code points that a font has in any size; none of one that cannot be read."""
    try:
        opened = FT2Font(str(font))
        letters = frozenset(opened.get_charmap()) if opened.scalable else frozenset()
    except (OSError, RuntimeError, ValueError):
        return frozenset()
    return letters if len(letters) <= MOST_GLYPHS else frozenset()

"""Light and dark: the ground around the photographs, on which both keep the same colours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from matplotlib.colors import to_hex, to_rgb

from ..palette import DARK, LIGHT


@dataclass(frozen=True)
class Theme:
    """Colours of a picture outside its photographs.

    Attributes:
        ink: text.
        soft: text that explains.
        ground: the paper.
        edge: frames and rules.
        brightness: what colours made for a dark ground are multiplied by where they are text or marks on this one.
    """

    ink: str
    soft: str
    ground: str
    edge: str
    brightness: float = 1.0

    def legible(self, color: str) -> str:
        """A colour made for a dark ground as it can be read on this one.

        >>> THEMES["dark"].legible("#ffe95c"), THEMES["light"].legible("#ffe95c")
        ('#ffe95c', '#736929')
        """
        return to_hex([self.brightness * part for part in to_rgb(color)])


THEMES = {
    "dark": Theme(DARK["ink"], DARK["soft"], DARK["ground"], "#5c6370"),
    "light": Theme(LIGHT["ink"], LIGHT["soft"], LIGHT["ground"], "#9aa0aa", 0.45),
}
_current = ContextVar("theme", default=THEMES["dark"])


def theme() -> Theme:
    """The one that is drawn in."""
    return _current.get()


@contextmanager
def themed(name: str) -> Iterator[None]:
    """Draw in another theme of THEMES than the dark one."""
    before = _current.set(THEMES[name])
    try:
        yield
    finally:
        _current.reset(before)

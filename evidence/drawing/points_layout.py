"""Where the parts of a dense detector's picture lie, and what is written above them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .canvas import HEAD, LINE, MARGIN, wrap

PICTURE = (1900, 2300)  # pixels that the panels of three assigners are fitted into
LEAST_PANEL = 150  # pixels, shorter side; many assigners make the picture longer instead
GAP, SIGN, BAR, BAR_WIDTH = 6, 34, 80, 12  # pixels: between panels, a row's sign, colour bar with numbers, it alone
BLOCK, TITLE = 30, 17  # pixels: above each assigner, above each row
NARROWEST = 900  # pixels
NAME_LETTER = 13  # pixels, width of a letter of an assigner's name at most
WEIGHTS = 3  # rows of an assigner
SCALES = 120  # sizes of panels that are tried, each larger by a fiftieth
EXPLANATION = (
    "w⁺ pulls a point's class score up, w° its box towards the object; both are summed over the objects that a point "
    "learns, and full colour is what an object's best point typically gets, in the assigner where that is most.",
    "w⁻ pushes its class score down; shown is its share of what a background point gets: nothing drawn at 1, blue where "
    "the point is spared (0: fully), red where it is pushed down harder.",
)
ENLARGED = (
    "Last row: small objects, enlarged; a dot for every point that learns, filled by w⁺ and ringed by w°, the larger the "
    "coarser its level."
)


@dataclass(frozen=True)
class Layout:
    """Where panels lie, in pixels from the top left corner.

    Attributes:
        panel, size: width and height of a panel and of the picture.
        corners: left and upper edge of every assigner's block.
        columns: panels in a row of each block, the overview among them.
        crops: enlarged windows of each block.
        head: height of what is above all.
    """

    panel: tuple[int, int]
    size: tuple[int, int]
    corners: tuple[tuple[int, int], ...]
    columns: tuple[int, ...]
    crops: int
    head: int

    def begins_row(self, block: int) -> bool:
        """Whether a block is the first in its row of blocks."""
        return self.corners[block][0] == MARGIN

    def fitting(self, name: str, block: int) -> str:
        """As much of an assigner's name as its block is wide."""
        letters = int(_block_width(self.panel[0], self.columns[block]) / NAME_LETTER)
        return name if len(name) <= letters else f"{name[: letters - 1]}…"

    def place(self, block: int, row: int, column: int) -> tuple[float, float, float, float]:
        """Axes rectangle of a panel in the figure's fractions; column -1 is the overview."""
        return self._fractions(block, row, column, self.panel[0])

    def bar(self, block: int, row: int, levels: int) -> tuple[float, float, float, float]:
        """The same of the colour bar behind so many levels."""
        return self._fractions(block, row, levels, BAR_WIDTH)

    def _fractions(self, block: int, row: int, column: int, width: int) -> tuple[float, float, float, float]:
        left, top = self.corners[block]
        left += (column + 1) * (self.panel[0] + GAP) + (SIGN if column >= 0 else 0)
        top += BLOCK + row * (self.panel[1] + TITLE) + TITLE
        return (
            left / self.size[0],
            1 - (top + self.panel[1]) / self.size[1],
            width / self.size[0],
            self.panel[1] / self.size[1],
        )


def lay_out(shape: tuple[int, int], levels: Sequence[int], crops: int = 0) -> Layout:
    """Panels of the image's proportions as large as the picture's size allows, with as many blocks side by side as fit.

    Args:
        shape: height and width of the image.
        levels: how many each assigner shows.
        crops: enlarged windows.
    """
    columns = tuple(max(each + 1, crops) for each in levels)
    head = HEAD + 2 * (len(EXPLANATION) + 1) * LINE
    least = LEAST_PANEL / min(shape)
    scales = [least * 1.02**step for step in range(SCALES, -1, -1)]
    fits = (scale for scale in scales if _fits(_packed(columns, _panel(shape, scale), crops), head))
    panel = _panel(shape, next(fits, least))
    corners, wide, high = _packed(columns, panel, crops)
    total = max(wide, NARROWEST)
    head = HEAD + LINE * (len(explanation(total, crops > 0).splitlines()) + 1)
    lowered = tuple((left, top + head) for left, top in corners)
    return Layout(panel, (total, head + high + GAP), lowered, columns, crops, head)


def explanation(width: int, enlarged: bool = False) -> str:
    """What the picture shows, in lines for a picture of so many pixels."""
    return wrap([*EXPLANATION, *([ENLARGED] if enlarged else [])], width)


def _panel(shape: tuple[int, int], scale: float) -> tuple[int, int]:
    return round(scale * shape[1]), round(scale * shape[0])


def _packed(columns: Sequence[int], panel: tuple[int, int], crops: int) -> tuple[list[tuple[int, int]], int, int]:
    """Corners of blocks in rows that are no wider than the picture may be, the width and the height of all."""
    down = BLOCK + (WEIGHTS + (crops > 0)) * (panel[1] + TITLE)
    corners, left, top, widest = [], MARGIN, 0, 0
    for count in columns:
        width = _block_width(panel[0], count)
        if left > MARGIN and left + width > PICTURE[0]:
            left, top = MARGIN, top + down
        corners.append((left, top))
        left += width
        widest = max(widest, left)
    return corners, widest, top + down


def _fits(packed: tuple[list[tuple[int, int]], int, int], head: int) -> bool:
    return packed[1] <= PICTURE[0] and head + packed[2] <= PICTURE[1]


def _block_width(panel: int, columns: int) -> int:
    return columns * (panel + GAP) + SIGN + BAR

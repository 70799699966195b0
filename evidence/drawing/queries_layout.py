"""Where the parts of a query detector's picture lie, and what is written above them."""

from __future__ import annotations

from dataclasses import dataclass

from .canvas import HEAD, LINE, MARGIN, wrap

PANEL, LEAST_PANEL = (860, 760), 420  # pixels: what the image is fitted into, and its least longer side
BLOCK, TITLE, GAP, FOOT = 30, 26, 26, 34  # pixels: above each assigner, above its panels, between them, below them
NAMES, CELL, BARS, NUMBER = 150, 56, 300, 58  # pixels: widths of an object's name, a layer's cell, the bars, a number
ROW, FOOT_ROW = (17, 48), 20  # pixels: least and largest height of an object's row, height of a row of means
EXPLANATION = (
    "Left: the way of every object's query, from its first reference (ring) through the centres of its boxes, a colour per "
    "layer, then dotted to the object; dots on their own are the queries that no object got.",
    "Middle: the query that each layer matches with each object, green by the IoU of its box; a red bar where it is another "
    "one than in the layer before.",
    "Right: what the last layer's match costs, term by term: to the left of 0 speaks for it, to the right against it; the "
    "white line is the sum, the diamond the sum of the next best query, red where that is lower: another object has it.",
)
COMPARED = "A yellow frame marks queries that are not those of {}."


@dataclass(frozen=True)
class Layout:
    """Where panels lie, in pixels from the top left corner."""

    panel: tuple[int, int]  # width, height
    size: tuple[int, int]
    layers: int
    objects: int
    row: float
    head: int
    block: int

    def top(self, block: int) -> int:
        """Upper edge of an assigner's block."""
        return self.head + block * self.block

    @property
    def grid_left(self) -> int:
        """Left edge of the matches."""
        return MARGIN + self.panel[0] + GAP + NAMES

    @property
    def bars_left(self) -> int:
        """Left edge of the costs."""
        return self.grid_left + self.layers * CELL + GAP

    @property
    def grid_height(self) -> int:
        """Height of all objects' rows."""
        return round(max(self.objects, 1) * self.row)

    def place(self, left: float, top: float, width: float, height: float) -> tuple[float, float, float, float]:
        """Axes rectangle in the figure's fractions."""
        return left / self.size[0], 1 - (top + height) / self.size[1], width / self.size[0], height / self.size[1]


def lay_out(shape: tuple[int, int], layers: int, objects: int, assigners: int) -> Layout:
    """The image in its own proportions beside rows as high as they can be within its height, or as they must be."""
    height, width = shape
    scale = max(min(PANEL[0] / width, PANEL[1] / height), LEAST_PANEL / max(shape))
    panel = round(scale * width), round(scale * height)
    row = min(max((panel[1] - 2 * FOOT_ROW) / max(objects, 1), ROW[0]), ROW[1])
    total = MARGIN + panel[0] + GAP + NAMES + layers * CELL + GAP + BARS + 3 * NUMBER + MARGIN
    head = HEAD + LINE * (len(explanation(total, "compared" if assigners > 1 else None).splitlines()) + 1)
    block = BLOCK + TITLE + max(panel[1], round(max(objects, 1) * row) + 2 * FOOT_ROW) + FOOT
    return Layout(panel, (total, head + assigners * block), layers, objects, row, head, block)


def explanation(width: int, first: str | None = None) -> str:
    """What the picture shows, in lines for a picture of so many pixels; `first` is what the others are compared with."""
    return wrap([*EXPLANATION, *([COMPARED.format(first)] if first else [])], width)

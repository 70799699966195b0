"""A confusion matrix as a picture: shares of each row in colour, counts where there is room."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .fonts import style_of, title_lettering

__all__ = ["draw_confusion", "shares"]

MOST_COUNTS, MOST_NAMES = 25, 90  # rows, beyond which counts and names are left out
DPI = 150
LONGEST = 20  # letters of a name


def shares(counts: np.ndarray) -> np.ndarray:
    """Of each row's sum, 0 for an empty row.

    >>> shares(np.array([[3, 1], [0, 0]])).tolist()
    [[0.75, 0.25], [0.0, 0.0]]
    """
    return counts / np.maximum(counts.sum(1, keepdims=True), 1)


def draw_confusion(counts: np.ndarray, names: Sequence[str]) -> bytes:
    """A PNG. counts: (N, N), rows are the truth; names: N."""
    rows = len(names)
    side = min(3 + 0.32 * rows, 16)
    figure = Figure(figsize=(side, side * 0.9), layout="constrained")
    FigureCanvasAgg(figure)
    ax, part = figure.subplots(), shares(counts)
    picture = ax.imshow(part, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(picture, ax=ax, shrink=0.7, label="share of the row")
    ax.set(xlabel="detected as", ylabel="truth")
    _name(ax, names if rows <= MOST_NAMES else [])
    if rows <= MOST_COUNTS:
        for row, column in np.argwhere(counts > 0).tolist():
            color = "white" if part[row, column] > 0.55 else "black"
            ax.text(column, row, f"{counts[row, column]}", ha="center", va="center", color=color, fontsize=7)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    return buffer.getvalue()


def _name(ax: Axes, names: Sequence[str]) -> None:
    """Rows and columns by their names, in fonts that have their letters."""
    lettered = [title_lettering(name if len(name) <= LONGEST else name[: LONGEST - 1] + "…") for name in names]
    for axis, turn in ((ax.xaxis, 90), (ax.yaxis, 0)):
        axis.set_ticks(range(len(lettered)), [one.text for one in lettered], rotation=turn, fontsize=7)
        for shown, one in zip(axis.get_ticklabels(), lettered, strict=True):
            shown.set(parse_math=False, **style_of(one.font))

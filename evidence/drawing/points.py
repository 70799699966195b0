"""Assignments of one image as a picture: a block per assigner, rows w⁺, w⁻, w°, a column per pyramid level that has any."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from ..inspection.crops import Crop, crops
from ..inspection.points import SPARED, Inspection
from ..inspection.scene import Scene
from ..words import many, three_digits
from .canvas import INK, LINE, begin, color_of, dim, image_axes, number_targets, outline_targets, rule, show, write
from .fonts import class_lettering, style_of
from .points_layout import BLOCK, SIGN, TITLE, Layout, explanation, lay_out
from .theme import theme

TINY = 1e-12  # keeps scales of all-zero weights defined
LEGEND = 12  # classes named
DOT = 6.0  # points, radius on the finest level; a factor of 1.4 for each further one
WINDOWS = 4  # around small objects
NAMED = 3  # objects that the title of a window numbers


@dataclass(frozen=True)
class Row:
    """One kind of weight: where it comes from and how it is coloured."""

    attribute: str
    sign: str
    colors: LinearSegmentedColormap
    opacity: float  # exponent: a root makes small weights visible

    @property
    def is_share(self) -> bool:
        """Whether values are shares, with nothing to see at 1, rather than amounts."""
        return self.attribute == "negative"

    def top(self, inspections: Sequence[Inspection]) -> float:
        """The value of full colour, the same for all assigners."""
        peaks = (inspection.typical[self.attribute == "box"] for inspection in inspections)
        return 2.0 if self.is_share else max(*peaks, TINY)


ROWS = (
    Row("positive", "w⁺", LinearSegmentedColormap.from_list("pull", ["#d9480f", "#ffa94d", "#fff3bf"]), 0.5),
    Row("negative", "w⁻", LinearSegmentedColormap.from_list("push", ["#22b8ff", "#22b8ff", "#ff3b3b", "#ff3b3b"]), 1.0),
    Row("box", "w°", LinearSegmentedColormap.from_list("box", ["#2b8a3e", "#69db7c", "#ebfbee"]), 0.5),
)


@dataclass(frozen=True)
class Subject:
    """What the blocks of a picture have in common: what is on it, where it lies, and what full colours mean."""

    scene: Scene
    layout: Layout
    levels: tuple[tuple[int, ...], ...]  # that are shown of each assigner
    windows: tuple[Crop, ...]
    tops: tuple[float, ...]  # of each kind of weight


def draw(scene: Scene, inspections: Sequence[Inspection], subtitle: str = "") -> Figure:
    """The picture of one or more assignments of a scene.

    Args:
        scene: the image and its objects.
        inspections: one per assigner, over the same pyramid.
        subtitle: where the predictions come from.

    Raises:
        ValueError: when there is no assignment to draw.
    """
    if not inspections:
        raise ValueError("inspections: expected at least one, got none")
    subject = subject_of(scene, inspections)
    explained = explanation(subject.layout.size[0], bool(subject.windows))
    figure = begin(subject.layout.size, scene, subtitle, explained)
    for block, inspection in enumerate(inspections):
        _draw_overview(figure, subject, block, inspection)
        for row in range(len(ROWS)):
            _draw_row(figure, subject, (block, row), inspection)
        for place, crop in enumerate(subject.windows):
            _draw_crop(figure, subject, (block, place), crop, inspection)
    return figure


def subject_of(scene: Scene, inspections: Sequence[Inspection]) -> Subject:
    """What these inspections have in common."""
    shape, strides = scene.image.shape[:2], inspections[0].strides
    levels = tuple(levels_with_any([inspection]) for inspection in inspections)
    windows = crops(scene.targets.boxes[0].tolist(), shape[::-1], min(strides), WINDOWS)
    layout = lay_out(shape, [len(own) for own in levels], len(windows))
    return Subject(scene, layout, levels, tuple(windows), tuple(kind.top(inspections) for kind in ROWS))


def levels_with_any(inspections: Sequence[Inspection]) -> tuple[int, ...]:
    """The levels on which some assigner does something; the first where none does."""
    levels = range(len(inspections[0].strides))
    return tuple(level for level in levels if any(each.acts_on(level) for each in inspections)) or (0,)


def colored(values: np.ndarray, largest: float, kind: Row) -> np.ndarray:
    """(..., 4) RGBA of weights: transparent where there is nothing to see, at 0 (w⁺, w°) or 1 (w⁻)."""
    position = values / max(largest, TINY)
    strength = np.abs(values - 1) if kind.is_share else position
    rgba = kind.colors(np.clip(position, 0, 1))
    rgba[..., 3] = np.clip(strength, 0, 1) ** kind.opacity
    return rgba


def _draw_overview(figure: Figure, subject: Subject, block: int, inspection: Inspection) -> None:
    """The assigner's name, the image with every target's number of positives, and the figures of the whole image."""
    scene, layout = subject.scene, subject.layout
    left, top = layout.corners[block]
    if layout.begins_row(block):
        rule(figure, top + 3, layout.size)
    write(figure, layout.size, left, top + 7, layout.fitting(inspection.name, block), points=14, weight="bold")
    panel = image_axes(figure, layout.place(block, 0, -1), scene, "points per object")
    show(panel, scene.image)
    outline_targets(panel, scene)
    _write_counts(panel, scene, [share.pairs for share in inspection.targets])
    below = top + BLOCK + 2 * TITLE + layout.panel[1]
    write(figure, layout.size, left, below, _figures(inspection, subject.levels[block]), points=9, linespacing=1.5)
    for place, (label, count) in enumerate(Counter(scene.targets.labels[0].tolist()).most_common(LEGEND)):
        spot = left + 0.5 * layout.panel[0] * (place % 2), below + 11 * LINE + LINE * (place // 2)
        name, font = class_lettering(scene.classes, label, longest=13)
        style = {"color": theme().legible(color_of(label)), **style_of(font)}
        write(figure, layout.size, *spot, f"{count} {name}", points=9, **style)


def _figures(inspection: Inspection, shown: Sequence[int]) -> str:
    total = inspection.totals()
    sums = [f"Σ{kind.sign} {three_digits(value)}" for kind, value in zip(ROWS, inspection.sums, strict=True)]
    lines = (
        f"{many(total['targets'], 'object')},",
        f"{total['without_positive']} without a point",
        f"{total['pairs_per_target']:.1f} points per object",
        f"as {total['effective_per_target']:.1f} of equal w⁺",
        *sums,
        *folded(inspection, shown),
    )
    return "\n".join(lines)


def folded(inspection: Inspection, shown: Sequence[int]) -> tuple[str, ...]:
    """What is left out of an assigner's levels, in lines."""
    strides = [str(stride) for level, stride in enumerate(inspection.strides) if level not in shown]
    return ("nothing on strides", " ".join(strides)) if strides else ()


def _draw_row(figure: Figure, subject: Subject, place: tuple[int, int], inspection: Inspection) -> None:
    """One weight on every level, on one scale."""
    scene, layout, kind, top = subject.scene, subject.layout, ROWS[place[1]], subject.tops[place[1]]
    levels = getattr(inspection, kind.attribute)
    dimmed = dim(scene.image)
    for column, level in enumerate(subject.levels[place[0]]):
        stride, values = inspection.strides[level], levels[level]
        title = f"stride {stride}: {describe(kind, values, levels)}"
        panel = image_axes(figure, layout.place(*place, column), scene, title)
        show(panel, dimmed)
        rows, columns = values.shape
        cells = (0, columns * stride, rows * stride, 0)
        panel.imshow(colored(values, top, kind), extent=cells, interpolation="nearest")
        outline_targets(panel, scene)
    x, y, _, height = layout.place(*place, 0)
    middle = x - 0.5 * SIGN / layout.size[0], y + height / 2
    figure.text(*middle, kind.sign, color=theme().ink, fontsize=15, ha="center")
    bar = layout.bar(*place, len(subject.levels[place[0]]))
    _draw_bar(figure, bar, kind, top, max(float(level.max()) for level in levels))


def _draw_crop(figure: Figure, subject: Subject, place: tuple[int, int], crop: Crop, inspection: Inspection) -> None:
    """A window around small objects, with the points that learn."""
    scene, layout = subject.scene, subject.layout
    numbers = ", ".join(map(str, crop.targets[:NAMED])) + (", …" if len(crop.targets) > NAMED else "")
    named = "object" if len(crop.targets) == 1 else "objects"
    title = f"{named} {numbers}, {crop.zoom:.1f} times as large"
    panel = image_axes(figure, layout.place(place[0], len(ROWS), place[1] - 1), scene, title)
    show(panel, 0.45 * scene.image / 255 + 0.55 * dim(scene.image))
    panel.set(xlim=crop.box[::2], ylim=crop.box[:0:-2])
    outline_targets(panel, scene)
    pull, _, box = ROWS
    for level in reversed(range(len(inspection.strides))):
        points, weights = inspection.points_that_learn(level)
        filling, ring = colored(weights[:, 0], subject.tops[0], pull), colored(weights[:, 1], subject.tops[2], box)
        panel.scatter(*points.T, s=(DOT * 1.4**level) ** 2, c=filling, edgecolors=ring, linewidths=1.2, zorder=3)
    number_targets(panel, scene, only=crop.targets[:NAMED])


def describe(kind: Row, values: np.ndarray, levels: Sequence[np.ndarray]) -> str:
    """What one level gets, in a few words."""
    if kind.is_share:
        spared = values[values < SPARED]
        return (
            f"{many(len(spared), 'point')} spared {100 * float((1 - spared).mean()):.0f} %"
            if len(spared)
            else "none spared"
        )
    total = sum(float(level.sum()) for level in levels)
    share = float(values.sum()) / total if total else 0.0
    return f"{many(int((values > 0).sum()), 'point')}, {100 * share:.0f} % of Σ"


def _draw_bar(figure: Figure, place: tuple[float, float, float, float], kind: Row, top: float, largest: float) -> None:
    """The row's scale; its upper end stands for everything above, too."""
    bar = figure.add_axes(place)
    bar.imshow(np.full((1, 1, 3), 0.2), extent=(0, 1, 0, top), aspect="auto")
    bar.imshow(colored(np.linspace(top, 0, 128)[:, None], top, kind), extent=(0, 1, 0, top), aspect="auto")
    bar.set_xticks([])
    above = "≥ " if largest > top * 1.001 else ""
    bar.set_yticks([0, top / 2, top], ["0", f"{top / 2:.2g}", f"{above}{top:.2g}"])
    bar.yaxis.tick_right()
    bar.tick_params(colors=theme().ink, labelsize=8, length=0, pad=4)  # a mark before a number would be its sign
    for label, side in zip(bar.get_yticklabels(), ("bottom", "center", "top"), strict=True):
        label.set_verticalalignment(side)


def _write_counts(panel: Axes, scene: Scene, counts: Sequence[int]) -> None:
    """A number at the middle of every target, red for none."""
    centers = (scene.targets.boxes[0, :, :2] + scene.targets.boxes[0, :, 2:]) / 2
    for (x, y), count in zip(centers.tolist(), counts, strict=True):
        ground = {"facecolor": "black" if count else "#e03131", "alpha": 0.65, "pad": 0.8, "linewidth": 0}
        panel.text(x, y, str(count), color=INK, fontsize=8, ha="center", va="center", bbox=ground, clip_on=True)

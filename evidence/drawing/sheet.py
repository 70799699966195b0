"""A data set at a glance: some of its pictures with their truth, how many objects each class has, and how large they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from ...data.pictures import read_pictures, silent_decoder
from ...data.table import Table
from .canvas import DPI, color_of, rectangle, show
from .fonts import class_lettering, style_of, title_lettering, warn_of_missing_letters
from .theme import theme

COLUMNS, CELL, GAP = 4, (320, 250), 10  # pixels: pictures beside each other, the place of one, between them
HEAD, NAME, CHARTS = 46, 18, 300  # pixels: the title, a picture's name, the charts below
MOST_CLASSES = 20  # bars
LONGEST, OF_A_FILE = 18, 44  # letters of a class's name, and of a file's, of which the last are shown
LABELLED = 12  # objects of a picture, above which only boxes are drawn
SPLIT_COLORS = {"train": "#1c7ed6", "val": "#e8590c", "test": "#2f9e44"}


class Shown(NamedTuple):
    """A picture with its truth.

    Attributes:
        name: of the file.
        pixels: (H, W, 3) uint8 RGB.
        boxes: (M, 4) xyxy, pixels.
        labels: (M,) of classes.
        crowd: (M,) bool, regions that are neither learnt nor counted as misses; hatched.
    """

    name: str
    pixels: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray


class Objects(NamedTuple):
    """All objects of a split: labels (A,), and sides (A,), the root of the area in pixels."""

    labels: np.ndarray
    sides: np.ndarray


def objects_of(table: Table) -> Objects:
    """Those of a split; crowd regions are none."""
    return Objects(table.labels[~table.crowd], np.sqrt(table.areas[~table.crowd]))


def pictures_of(table: Table, folder: Path, count: int, seed: int) -> list[Shown]:
    """Some pictures of a split: by chance, those that bring a class that was not there before first.

    Raises:
        ValueError: for a picture that cannot be read.
    """
    return [_read(table, folder, index) for index in chosen(table, count, seed)]


def chosen(table: Table, count: int, seed: int) -> list[int]:
    """Places of the pictures, in the order of the split."""
    order = np.random.default_rng(seed).permutation(len(table.file_names)).tolist()
    classes: list[set[int]] = [set() for _ in order]
    for owner, label in zip(table.owners.tolist(), table.labels.tolist(), strict=True):
        classes[owner].add(label)
    seen: set[int] = set()
    first = [index for index in order if not classes[index] <= seen and not seen.update(classes[index])]
    return sorted([*dict.fromkeys([*first, *order])][:count])


def _read(table: Table, folder: Path, index: int) -> Shown:
    name, own = table.file_names[index], table.owners == index
    pixels = None
    if read_pictures([folder / name])[0]:  # which refuses what would fill the memory
        with silent_decoder(), suppress(cv2.error):
            pixels = cv2.imread(str(folder / name))
    if pixels is None:
        raise ValueError(f"image {folder / name} cannot be read; see 'detassign data check --decode'")
    boxes = np.hstack([table.boxes[own, :2], table.boxes[own, :2] + table.boxes[own, 2:]])
    return Shown(name, pixels[..., ::-1], boxes, table.labels[own], table.crowd[own])


def draw(title: str, pictures: Sequence[Shown], splits: Mapping[str, Objects], classes: Sequence[str]) -> Figure:
    """A sheet of pictures, the objects of each class, and how their sizes are spread, split by split."""
    warn_of_missing_letters(classes)
    rows = -(-len(pictures) // COLUMNS)
    width = COLUMNS * (CELL[0] + GAP) + GAP
    height = HEAD + rows * (CELL[1] + NAME + GAP) + CHARTS
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor=theme().ground)
    FigureCanvasAgg(figure)
    shown, font = title_lettering(title)
    figure.text(
        GAP / width,
        1 - 14 / height,
        shown,
        va="top",
        color=theme().ink,
        fontsize=12,
        parse_math=False,
        **style_of(font),
    )
    for place, picture in enumerate(pictures):
        row, column = divmod(place, COLUMNS)
        left, top = GAP + column * (CELL[0] + GAP), HEAD + row * (CELL[1] + NAME + GAP) + NAME
        box = (left / width, 1 - (top + CELL[1]) / height, CELL[0] / width, CELL[1] / height)
        _draw_picture(figure.add_axes(box), picture, classes)
    bottom, tall = 46 / height, (CHARTS - 100) / height
    _draw_classes(figure.add_axes((110 / width, bottom, 0.5 - 130 / width, tall)), splits, classes)
    _draw_sizes(figure.add_axes((0.5 + 60 / width, bottom, 0.5 - 80 / width, tall)), splits)
    return figure


def _draw_picture(axes: Axes, picture: Shown, classes: Sequence[str]) -> None:
    height, width = picture.pixels.shape[:2]
    show(axes, picture.pixels)
    axes.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[], facecolor=theme().ground)
    for spine in axes.spines.values():
        spine.set_visible(False)
    shown, font = title_lettering(picture.name[-OF_A_FILE:])
    count = int((~picture.crowd).sum())
    said = f"{shown}   {width} x {height}, {count} object{'s' * (count != 1)}"
    axes.set_title(said, fontsize=7, color=theme().soft, pad=3, parse_math=False, **style_of(font))
    for box, label, crowd in zip(picture.boxes.tolist(), picture.labels.tolist(), picture.crowd.tolist(), strict=True):
        style = {"hatch": "////", "edgecolor": "#9aa0aa"} if crowd else {"edgecolor": color_of(label)}
        axes.add_patch(rectangle(box, linewidth=1.1, **style))
        if len(picture.boxes) <= LABELLED and not crowd:
            name, font = class_lettering(classes, label, LONGEST)
            plate = {"facecolor": color_of(label), "pad": 0.8, "linewidth": 0, "alpha": 0.85}
            side = "bottom" if box[1] > 0.06 * height else "top"
            text = {"color": "black", "fontsize": 6, "va": side, "bbox": plate, "clip_on": True, "parse_math": False}
            axes.text(box[0], box[1], name, **text, **style_of(font))


def _draw_classes(axes: Axes, splits: Mapping[str, Objects], classes: Sequence[str]) -> None:
    """Objects of each class, the commonest first; splits end to end."""
    counts = {split: np.bincount(found.labels, minlength=len(classes)) for split, found in splits.items()}
    total = sum(counts.values())
    order = np.argsort(-total, kind="stable")[:MOST_CLASSES]
    start = np.zeros(len(order))
    for split, count in counts.items():
        axes.barh(np.arange(len(order)), count[order], left=start, color=SPLIT_COLORS[split], label=split, height=0.75)
        start += count[order]
    for row, label in enumerate(order.tolist()):
        name, font = class_lettering(classes, label, LONGEST)
        text = {"transform": axes.get_yaxis_transform(), "fontsize": 7.5, "va": "center", "parse_math": False}
        axes.text(-0.01, row, name, ha="right", color=theme().ink, **text, **style_of(font))
        axes.text(start[row], row, f" {total[label]}", fontsize=7, va="center", color=theme().soft)
    axes.set(ylim=(len(order) - 0.4, -0.6), yticks=[], xlim=(0, max(start.max(initial=0), 1) * 1.12))
    more = f", the {len(order)} commonest of {len(classes)}" if len(order) < len(classes) else ""
    _dress(axes, f"objects of each class{more}")
    legend = axes.legend(fontsize=8, loc="lower right", facecolor=theme().ground, edgecolor=theme().edge)
    for text in legend.get_texts():
        text.set_color(theme().ink)


def _draw_sizes(axes: Axes, splits: Mapping[str, Objects]) -> None:
    sides = np.concatenate([found.sides for found in splits.values()])
    edges = (
        np.geomspace(max(sides.min(initial=1e9), 1), max(sides.max(initial=2), 2) * 1.01, 31) if len(sides) else [1, 2]
    )
    for split, found in splits.items():
        share = np.full(len(found.sides), 1 / max(len(found.sides), 1))
        axes.hist(found.sides, edges, weights=share, histtype="step", linewidth=1.6, color=SPLIT_COLORS[split])
    for limit, name in ((32, "small | medium"), (96, "medium | large")):
        axes.axvline(limit, color=theme().edge, linewidth=0.8, linestyle=":")
        text = {"transform": axes.get_xaxis_transform(), "rotation": 90, "va": "top", "ha": "right"}
        axes.text(limit, 0.98, name, fontsize=6.5, color=theme().soft, **text)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.set_yticks([])
    _dress(axes, "side of the objects, √area in pixels as stored; share of each split's objects")


def _dress(axes: Axes, title: str) -> None:
    axes.set_title(title, color=theme().ink, fontsize=9)
    axes.set_facecolor(theme().ground)
    axes.tick_params(colors=theme().soft, labelsize=8, which="both")
    for spine in axes.spines.values():
        spine.set_color(theme().edge)

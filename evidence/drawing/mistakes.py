"""An image's truth and its detections, each by itself: what was found in one colour, what went wrong in another."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image

from ...data.table import Table
from ..evaluation.analysis import Analysis
from ..evaluation.errors import KINDS
from .detections import Box, draw_boxes, named_box

__all__ = ["CROWD", "FOUND", "MISTAKE", "Mistakes", "draw_mistakes"]

FOUND, MISTAKE, CROWD = (86, 180, 233), (240, 110, 20), (160, 160, 160)  # RGB; told apart by most eyes, and by words
ON_TOP = (MISTAKE, FOUND, CROWD)
LARGEST = 960  # pixels of the longer side
GAP = 12  # pixels between the two


class Mistakes(NamedTuple):
    """The same image twice."""

    truth: Image.Image
    detected: Image.Image

    def beside_each_other(self) -> Image.Image:
        """Both in one, the truth on the left."""
        width, height = self.truth.size
        both = Image.new("RGB", (2 * width + GAP, height), "white")
        both.paste(self.truth, (0, 0))
        both.paste(self.detected, (width + GAP, 0))
        return both


def draw_mistakes(pixels: np.ndarray, analysis: Analysis, image: int, truth: Table) -> Mistakes:
    """Objects, "missed" where none of the detections found them, and detections above the best threshold, the kind where wrong.

    Crowd regions, in which detections count neither way, are beneath the objects.

    pixels: (H, W, 3) in BGR; image: its index; truth: of the split.
    """
    matching = analysis.matching
    own = np.flatnonzero((matching.detection_images == image) & (matching.scores >= analysis.threshold))
    objects = np.flatnonzero(matching.object_images == image)
    found = set(matching.found[own].tolist())
    annotated = [_object(analysis, index, index in found) for index in objects.tolist()]
    annotated += [_crowd(truth, row) for row in np.flatnonzero(truth.crowd & (truth.owners == image)).tolist()]
    detected = [_detection(analysis, index) for index in own.tolist()]
    sides = (sorted(boxes, key=lambda box: ON_TOP.index(box.colour)) for boxes in (annotated, detected))
    return Mistakes(*(draw_boxes(pixels, side, LARGEST) for side in sides))


def _object(analysis: Analysis, index: int, found: bool) -> Box:
    matching = analysis.matching
    label, behind = int(matching.object_labels[index]), "" if found else " missed"
    corners = _corners(matching.object_boxes[index])
    return named_box(corners, matching.classes, label, behind, FOUND if found else MISTAKE)


def _crowd(truth: Table, row: int) -> Box:
    return named_box(_corners(truth.boxes[row]), [*truth.classes.values()], int(truth.labels[row]), " crowd", CROWD)


def _detection(analysis: Analysis, index: int) -> Box:
    matching, kind = analysis.matching, int(analysis.errors.kinds[index])
    right = bool(matching.right[index])
    behind = f" {matching.scores[index]:.2f}" + ("" if right else f" {KINDS[kind]}")
    corners = _corners(matching.detection_boxes[index])
    return named_box(
        corners, matching.classes, int(matching.detection_labels[index]), behind, FOUND if right else MISTAKE
    )


def _corners(box: np.ndarray) -> list[float]:
    return [*box[:2].tolist(), *(box[:2] + box[2:]).tolist()]

"""One image with its objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...assigners import Targets


@dataclass(frozen=True)
class Scene:
    """An image at the detector's input size.

    Attributes:
        name: of the file.
        index: of the image in its split.
        image: (H, W, 3) uint8 RGB.
        targets: one image's objects, pixels of `image`; crowd regions are its ignore boxes.
        classes: names by label.
        packed: what the detector's preprocessor takes.
    """

    name: str
    index: int
    image: np.ndarray
    targets: Targets
    classes: tuple[str, ...]
    packed: Mapping[str, Any]

    def objects(self) -> list[tuple[str, str]]:
        """Index with class name, and size, of each object, in words."""
        sizes = (self.targets.boxes[0, :, 2:] - self.targets.boxes[0, :, :2]).tolist()
        labels = self.targets.labels[0].tolist()
        return [
            (f"{index} {self.classes[label]}", f"{width:.0f} x {height:.0f}")
            for index, (label, (width, height)) in enumerate(zip(labels, sizes, strict=True))
        ]

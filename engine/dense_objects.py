"""Pictures with more objects each, mosaics and mixtures, for a part of the training: DEIM's "Dense O2O" (arXiv 2412.04234)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.datasets.transforms import (
    Expand,
    MinIoURandomCrop,
    Mosaic,
    PhotoMetricDistortion,
    RandomAffine,
    Resize,
)
from mmengine.dataset import Compose

PUBLISHED = (4 / 58, 29 / 58, 50 / 58)  # shares of the training of DEIM-D-FINE-L
BETA = (0.45, 0.55)  # share of a mixture's first picture


class DenseObjects(BaseTransform):
    """Mosaics of four pictures and mixtures of two, among pictures that are distorted, zoomed out and cropped.

    Before the first stage, and from the third on, pictures are given their size and no more. Between the first two a picture
    may be a mosaic or else zoomed out and cropped, then distorted in colour, and may be mixed with another such; between the
    last two there are no mosaics and no mixtures. Mixtures are of two pictures of the set, where DEIM's are of two of a
    batch; objects of both count in full. The defaults are DEIM's.

    Args:
        scale: width and height of a mosaic, and what others are resized to, pixels.
        keep_ratio: in resizing.
        mosaic, mixup, zoom, color: probabilities.
        sizing: the transform that gives pictures their size, in the place of a resize.
        stages: shares of the training at which the stages begin.

    Raises:
        ValueError: for probabilities and stages out of range.
    """

    def __init__(
        self,
        scale: tuple[int, int],
        keep_ratio: bool = True,
        mosaic: float = 0.5,
        mixup: float = 0.5,
        zoom: float = 1.0,
        color: float = 1.0,
        sizing: dict[str, Any] | None = None,
        stages: tuple[float, float, float] = PUBLISHED,
    ) -> None:
        for name, value in {"mosaic": mosaic, "mixup": mixup, "zoom": zoom, "color": color}.items():
            if not 0 <= value <= 1:
                raise ValueError(f"{name}: expected a probability, got {value!r}")
        if len(stages) != 3 or list(stages) != sorted(stages):
            raise ValueError(f"stages: expected three rising shares of the training, got {stages!r}")
        self.mosaic, self.mixup, self.zoom, self.color, self.stages = mosaic, mixup, zoom, color, tuple(stages)
        self.progress = 0.0  # share of the training that is done
        self.another: Callable[[], dict[str, Any]] | None = None  # a random picture of the set, with its objects
        half = scale[0] // 2, scale[1] // 2
        affine = RandomAffine(max_shear_degree=0.0, border_val=(0, 0, 0))
        self.resize = Compose([sizing]) if sizing else Resize(scale=tuple(scale), keep_ratio=keep_ratio)
        self.compose_four = Compose([Mosaic(img_scale=half, pad_val=0.0), affine])
        self.zoom_and_crop = Compose([Expand(), MinIoURandomCrop()])
        self.distort = PhotoMetricDistortion()

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        mixes = self.stages[0] <= self.progress < self.stages[1]
        picture = self._picture(results, mixes)
        if mixes and _happens(self.mixup):
            picture = mixed(picture, self._picture(self.another(), mixes), np.random.uniform(*BETA))
        return picture

    def _picture(self, results: dict[str, Any], mixes: bool) -> dict[str, Any]:
        if not self.stages[0] <= self.progress < self.stages[2]:
            return self.resize(results)
        if mixes and _happens(self.mosaic):
            results = self.compose_four({**results, "mix_results": [self.another() for _ in range(3)]})
            results.pop("mix_results")
        elif _happens(self.zoom):
            results = self.zoom_and_crop(results)
        if _happens(self.color):
            results = self.distort(results)
        return self.resize({**results, "img": results["img"].clip(0, 255).astype(np.uint8)})


def _happens(probability: float) -> bool:
    """What is certain takes no random number."""
    return probability >= 1 or (probability > 0 and np.random.uniform() < probability)


def mixed(one: dict[str, Any], other: dict[str, Any], share: float) -> dict[str, Any]:
    """Two pictures, `share` of the first, on one ground as large as both, with the objects of both."""
    sizes = [picture["img"].shape[:2] for picture in (one, other)]
    shape = tuple(np.max(sizes, axis=0).tolist())
    ground = np.zeros((*shape, 3), np.float32)
    for picture, weight, (height, width) in zip((one, other), (share, 1 - share), sizes, strict=True):
        ground[:height, :width] += weight * picture["img"]
    arrays = {name: np.concatenate([one[name], other[name]]) for name in ("gt_bboxes_labels", "gt_ignore_flags")}
    boxes = one["gt_bboxes"].cat([one["gt_bboxes"], other["gt_bboxes"]])
    return {**one, **arrays, "img": ground.round().astype(np.uint8), "img_shape": shape, "gt_bboxes": boxes}

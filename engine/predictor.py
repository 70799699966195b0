"""A trained detector on pictures in memory.

Pictures that share a batch have the same size once they are resized, so none is padded for the sake of another: what is
found in a picture depends on the batch by no more than the rounding of sums.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from torch import nn

from ..detectors.targets import detected
from ..heads import Detections, PostProcess
from .batching import in_batches
from .build import Detector, build_model, load_checkpoint
from .config import source_of
from .datasets import eval_steps
from .device import device_of
from .precision import half

Prepared = dict[str, Any]
"""What the network takes of a picture: its resized pixels, and its sizes."""


class Predictor:
    """A detector that takes pictures and gives their detections.

    Args:
        config: resolved; its data set need not be there.
        model: of this config, trained. It is moved to the config's device and put in evaluation mode.
        half: compute the network in float16, on a CPU in bfloat16; boxes, scores and what is chosen of them stay float32.

    >>> from detassign.data import DataSource
    >>> from detassign.engine.build import build_model
    >>> from detassign.engine.config import compose
    >>> nowhere = Path("nowhere")
    >>> config = compose("fcos_tiny", "fcos", DataSource("mine", nowhere, nowhere, nowhere, nowhere, ("cat", "dog"), (1, 2)))
    >>> predictor = Predictor(config, build_model(config, initialise=False))
    >>> found = predictor([np.zeros((40, 60, 3), np.uint8)], score=0, limit=5)
    >>> found[0].boxes.shape, found[0].scores.shape, predictor.classes
    (torch.Size([5, 4]), torch.Size([5]), ('cat', 'dog'))
    """

    def __init__(self, config: Mapping[str, Any], model: Detector, half: bool = False) -> None:
        self.classes = source_of(config).classes
        self.device = device_of(config)
        self.model = model.to(self.device).eval()
        self.half = half
        self._load, self._prepare = eval_steps(config["input"])

    @classmethod
    def load(cls, config: Mapping[str, Any], checkpoint: Path, half: bool = False, compiled: bool = False) -> Predictor:
        """A predictor from a checkpoint of the config's model.

        compiled: translate the network with torch.compile when it first runs.

        Raises:
            ValueError, OSError: for a checkpoint of another model.
        """
        model = build_model(config, initialise=False)
        load_checkpoint(model, checkpoint, source_of(config).classes)
        predictor = cls(config, model, half)
        if compiled:
            compile_network(predictor.model)
        return predictor

    def __call__(
        self, images: Iterable[np.ndarray], score: float = 0.3, limit: int | None = None, batch: int = 1
    ) -> list[Detections]:
        """Detections of each image in its own pixels, on the CPU, scores falling.

        Args:
            images: (H, W, 3) uint8 each, RGB, of any sizes; taken one at a time.
            score: detections at or below it are left out.
            limit: at most so many detections per image; None keeps the model's own limit.
            batch: at most so many images pass the network together, those of one size after resizing.

        Raises:
            ValueError: for what is no such image, with its place in the list.
        """
        return detected_in(self, images, score, limit, batch)

    def load_pixels(self, path: Path) -> np.ndarray:
        """A file's pixels (H, W, 3) uint8 in BGR, turned as its EXIF says; raises whatever the decoder does."""
        return self._load({"img_path": str(path)})["img"]

    def prepare(self, pixels: np.ndarray, name: object) -> Prepared:
        """What the network takes of pixels (H, W, 3) uint8 in BGR; several threads may do this.

        Raises:
            ValueError: naming the image, when it is too narrow to be resized.
        """
        shape = pixels.shape[:2]
        try:
            return self._prepare({"img": np.ascontiguousarray(pixels), "img_shape": shape, "ori_shape": shape})
        except cv2.error as error:
            size = f"{shape[1]} x {shape[0]}"
            raise ValueError(f"{name}: {size} pixels cannot be brought to the model's size") from error

    @torch.no_grad()
    def detect(self, batch: Sequence[Prepared], score: float = 0.3, limit: int | None = None) -> list[Detections]:
        """Detections of prepared images, which pass the network together, in pixels of each, on the CPU."""
        data = self.model.data_preprocessor(pseudo_collate(list(batch)), False)
        images, samples = data["inputs"], data["data_samples"]
        with torch.autocast(self.device.type, half(self.device), enabled=self.half):
            predictions = self.model.predictions(images, samples)
        found = detected(self.model.bbox_head, self._settings(score, limit), predictions, samples)
        return [_above(score, sample.pred_instances.cpu()) for sample in found]

    def _settings(self, score: float, limit: int | None) -> PostProcess:
        settings = replace(self.model.post_process, score_threshold=score)
        if limit is None:
            return settings
        return replace(settings, max_per_image=limit, per_level=max(limit, settings.per_level))


def detected_in(
    predictor: Any, images: Iterable[np.ndarray], score: float, limit: int | None, batch: int
) -> list[Detections]:
    """Detections of images by what has `prepare` and `detect`; arguments and errors as of a call of `Predictor`."""
    if batch < 1:
        raise ValueError(f"batch: expected a number of at least 1, got {batch}")
    named = ((check_image(image, f"image {place}"), f"image {place}") for place, image in enumerate(images))
    prepared = (predictor.prepare(image[..., ::-1], name) for image, name in named)
    worked = in_batches(prepared, lambda several: predictor.detect(several, score, limit), batch, size_of)
    return [found for _, found in worked]


def size_of(prepared: Prepared) -> tuple[int, ...]:
    """The shape in which an image reaches the network: images of the same one need no padding in a batch."""
    return tuple(prepared["inputs"].shape)


def check_image(image: Any, name: str) -> np.ndarray:
    """The image, if it is an array (H, W, 3) uint8 that is not empty; else raises ValueError with its name."""
    if not isinstance(image, np.ndarray):
        raise ValueError(f"{name}: expected an array (H, W, 3) of uint8, RGB, got {type(image).__name__}")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(f"{name}: expected an array (H, W, 3) of uint8, RGB, got {image.shape} of {image.dtype}")
    return image


def compile_network(model: nn.Module, **options: Any) -> None:
    """Have torch.compile translate the parts that do most of the work when they first run.

    Sizes are left open, but some image sizes make it translate a backbone again: its rounding depends on them.

    Args:
        model: a detector.
        options: of torch.compile.
    """
    for name in ("backbone", "neck", "encoder", "decoder"):
        part = getattr(model, name, None)
        if part is not None:
            part.compile(dynamic=True, **options)


def _above(score: float, found: Any) -> Detections:
    """The instances above a score: the model filters by class score alone, before centerness lowers it."""
    kept = found.scores > score
    return Detections(found.bboxes[kept], found.scores[kept], found.labels[kept])

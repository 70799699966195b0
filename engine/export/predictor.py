"""An exported file on pictures, called as the predictor of a checkpoint is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from ...heads import Detections
from ..datasets import eval_steps
from ..files import sha256_of
from ..predictor import detected_in
from ..trust import is_trusted, remember
from .check import detections
from .formats import FORMATS, SUFFIXES
from .metadata import Metadata
from .pictures import canvas, place

Prepared = dict[str, Any]
LARGEST = 2**31  # bytes of a file; ONNX holds no more


class ExportedPredictor:
    """Detections of pictures by a file of `detassign export`, on the CPU.

    Args:
        path: of the file; its ending says which format it has.
        trust: the user agrees to run a TorchScript or pt2 file, which are programs, and it is trusted from now on. Those that
            this user exported on this machine are trusted already.

    Raises:
        FileNotFoundError, ValueError: when it is missing, not trusted, of another program, without post-processing, or damaged.
    """

    def __init__(self, path: Path, trust: bool = False) -> None:
        self.about, self._run = read(path, trust)
        if self.about.most is None:
            raise ValueError(
                f"{path}: was exported with --raw, without the post-processing that makes detections of it"
            )
        self.classes, self.device = self.about.classes, torch.device("cpu")
        self._load, _ = eval_steps({"scale": self.about.scale, "keep_ratio": self.about.keep_ratio})

    def load_pixels(self, path: Path) -> np.ndarray:
        """A file's pixels (H, W, 3) uint8 in BGR, turned as its EXIF says; raises whatever the decoder does."""
        return self._load({"img_path": str(path)})["img"]

    def prepare(self, pixels: np.ndarray, name: object) -> Prepared:
        """What the network takes of pixels (H, W, 3) uint8 in BGR.

        Raises:
            ValueError: naming the image, when it is too narrow to be resized.
        """
        try:
            placed = place(np.ascontiguousarray(pixels), self.about)
        except (ValueError, cv2.error) as error:
            size = f"{pixels.shape[1]} x {pixels.shape[0]}"
            raise ValueError(f"{name}: {size} pixels cannot be brought to the model's size") from error
        return {"inputs": placed.values, "placed": placed}

    def detect(self, batch: Sequence[Prepared], score: float = 0.3, limit: int | None = None) -> list[Detections]:
        """Detections of prepared images in pixels of each, above a score and no more than `limit`.

        The file's own threshold and limit hold besides.
        """
        size = self.about.batch or len(batch)
        found = []
        for start in range(0, len(batch), size):
            placed = [one["placed"] for one in batch[start : start + size]]
            filled = placed + placed[-1:] * (size - len(placed))
            several = detections(self._run(*canvas(filled, self.about)), self.about)
            found += [_of_original(each, one.factors) for each, one in zip(several, placed, strict=False)]
        return [_kept(each, score, limit) for each in found]

    def __call__(
        self, images: Iterable[np.ndarray], score: float = 0.3, limit: int | None = None, batch: int = 1
    ) -> list[Detections]:
        """Detections of images in their own pixels; arguments and errors as of `Predictor`."""
        return detected_in(self, images, score, limit, batch)


def read(path: Path, trust: bool = False) -> tuple[Metadata, Any]:
    """What a file says of itself and what runs it; arguments and errors as of `ExportedPredictor`."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist" if not path.exists() else f"{path} is not a file")
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path} has {path.stat().st_size} bytes, more than the {LARGEST} that are read")
    name = SUFFIXES.get(path.suffix.lower())
    if name is None:
        raise ValueError(f"{path}: expected a file whose name ends in {', '.join(SUFFIXES)}")
    form = FORMATS[name]
    if not form.TRUSTED:
        digest = sha256_of(path)
        if not trust and not is_trusted(digest):
            raise ValueError(
                f"{path}: a {name} file is a program, and this one was not exported here; say --trust to run it, or take ONNX"
            )
        remember(digest, path.name)
    return form.read(path)


def _of_original(found: Detections, factors: tuple[float, float]) -> Detections:
    """With boxes in pixels of the original picture."""
    return Detections(found.boxes / found.boxes.new_tensor(factors).repeat(2), found.scores, found.labels)


def _kept(found: Detections, score: float, limit: int | None) -> Detections:
    kept = torch.nonzero((found.scores > score) & found.boxes.isfinite().all(1))[:limit, 0]
    return Detections(found.boxes[kept], found.scores[kept], found.labels[kept])

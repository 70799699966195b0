"""`detassign.load`: a trained model, to detect with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, overload

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from detassign.data.pictures import silent_decoder
from detassign.engine.config import source_of
from detassign.engine.imports import load_named
from detassign.engine.predict import find_model
from detassign.engine.prediction.reading import read_pixels
from detassign.engine.predictor import Predictor, check_image
from detassign.engine.runner import calm
from detassign.results import Result

__all__ = ["Model", "Picture", "load"]

Picture: TypeAlias = str | Path | np.ndarray | Tensor | Image.Image
KINDS = "an array (H, W, 3) of uint8, RGB, a tensor (3, H, W), a PIL image or a file's path"


def load(
    run: str | Path,
    *,
    checkpoint: str | None = None,
    device: str | None = None,
    half: bool = False,
    compiled: bool = False,
    imports: Iterable[str] = (),
    trust: bool = False,
) -> Model:
    """A trained model, on its device and ready to detect.

    Args:
        run: the folder of a run, or a checkpoint in it.
        checkpoint: of a folder: "best", "last" or a file; the best if left out, or the last where none is the best.
        device: "auto", "cpu" or "cuda[:index]"; the run's if left out.
        half: compute the network in float16, on a CPU in bfloat16.
        compiled: translate the network with torch.compile when it first runs.
        imports: files and modules that bring parts of the model, in the place of those that the run brings.
        trust: run the code that comes with a run made elsewhere.

    Raises:
        FileNotFoundError: when there is no such run or checkpoint.
        ValueError: when no checkpoint can be read, and for code of the run that may not run.
    """
    config, chosen = find_model(Path(run), checkpoint, trust, load_named(imports))
    if device:
        config["device"] = device
    with calm():
        predictor = Predictor.load(config, chosen.path, half, compiled)
    return Model(predictor, config, chosen.path)


class Model:
    """A trained detector; `load` makes one.

    Attributes:
        names: of the classes that it knows.
        config: of its run.
        checkpoint: the file that its weights are of.
    """

    def __init__(self, predictor: Predictor, config: Mapping[str, Any], checkpoint: Path) -> None:
        source = source_of(config)
        self.names, self._category_ids = source.classes, source.category_ids
        self.config, self.checkpoint = config, checkpoint
        self._predictor = predictor

    @overload
    def predict(self, images: Picture, *, score: float = ..., limit: int | None = ..., batch: int = ...) -> Result: ...

    @overload
    def predict(
        self, images: Iterable[Picture], *, score: float = ..., limit: int | None = ..., batch: int = ...
    ) -> list[Result]: ...

    def predict(
        self, images: Picture | Iterable[Picture], *, score: float = 0.3, limit: int | None = None, batch: int = 8
    ) -> Result | list[Result]:
        """Detect in a picture, or in several.

        Args:
            images: one or a list: arrays (H, W, 3) of uint8 in RGB; tensors (3, H, W) in RGB, of uint8 or of floats from 0 to
                1; PIL images; paths of files. Files are turned as their EXIF says, PIL images as well.
            score: detections at or below it are left out.
            limit: at most so many detections per picture; None keeps the model's own limit.
            batch: at most so many pictures pass the network together, those of one size after resizing.

        Returns:
            A result for one picture, a list of them for several, in their order.

        Raises:
            ValueError: for what is no picture, with its place in the list or its name.
        """
        if isinstance(images, Picture):
            return self._found([images], score, limit, batch)[0]
        if not isinstance(images, Iterable):
            raise ValueError(f"images: expected {KINDS}, or a list of these, got {type(images).__name__}")
        return self._found([*images], score, limit, batch)

    def _found(self, images: Sequence[Picture], score: float, limit: int | None, batch: int) -> list[Result]:
        sizes: list[tuple[int, int]] = []
        readers = [partial(self._pixels, image, f"image {place}") for place, image in enumerate(images)]

        def arrays() -> Iterator[np.ndarray]:  # one at a time, so that memory does not grow with their number
            for read in readers:
                pixels = read()
                sizes.append((pixels.shape[0], pixels.shape[1]))
                yield pixels

        with calm(), silent_decoder():
            found = self._predictor(arrays(), score, limit, batch)
        return [
            Result(one.boxes, one.scores, one.labels, self.names, self._category_ids, size, _path(image), read)
            for one, size, image, read in zip(found, sizes, images, readers, strict=True)
        ]

    def _pixels(self, image: Picture, name: str) -> np.ndarray:
        """A picture of any kind as (H, W, 3) uint8, RGB."""
        if isinstance(image, str | Path):
            return read_pixels(Path(image), self._predictor.load_pixels)[..., ::-1]
        if isinstance(image, Tensor):
            return _array_of(image, name)
        if isinstance(image, Image.Image):
            return _array_of_pil(image, name)
        if not isinstance(image, np.ndarray):
            raise ValueError(f"{name}: expected {KINDS}, got {type(image).__name__}")
        return check_image(image, name)


def _array_of_pil(image: Image.Image, name: str) -> np.ndarray:
    """A PIL image as (H, W, 3) uint8; of 16 bits the upper 8, as files are read, where PIL would cut values at 255."""
    upright = ImageOps.exif_transpose(image)
    if upright.mode in ("I", "F"):
        raise ValueError(
            f"{name}: expected a PIL image of 8 or 16 bits, got mode {upright.mode}; scale it to one of them"
        )
    if upright.mode.startswith("I;16"):
        upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
    return np.asarray(upright.convert("RGB"))


def _array_of(image: Tensor, name: str) -> np.ndarray:
    """A tensor (3, H, W) as (H, W, 3) uint8."""
    if image.ndim != 3 or image.shape[0] != 3 or not (image.dtype == torch.uint8 or image.is_floating_point()):
        raise ValueError(
            f"{name}: expected a tensor (3, H, W) of uint8, or of floats from 0 to 1, got {tuple(image.shape)} of {image.dtype}"
        )
    pixels = image.detach().cpu()
    if pixels.is_floating_point():
        if not ((pixels >= 0) & (pixels <= 1)).all():
            raise ValueError(f"{name}: expected floats from 0 to 1, got {pixels.min():.3g} to {pixels.max():.3g}")
        pixels = (pixels * 255).round().to(torch.uint8)
    return pixels.permute(1, 2, 0).numpy()


def _path(image: Picture) -> Path | None:
    return Path(image) if isinstance(image, str | Path) else None

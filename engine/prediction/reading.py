"""Reading an image file that anybody may have made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ..predictor import Predictor, Prepared, size_of

MOST_PIXELS = 150_000_000  # 450 MB once decoded; Pillow refuses from 179 million on
MOST_BYTES = 2**30  # of a file: more than that many pixels take uncompressed


@dataclass(frozen=True)
class Picture:
    """An image file that was read.

    Attributes:
        width, height: pixels, turned as its EXIF says.
        prepared: what the network takes of it.
        pixels: (H, W, 3) uint8 in BGR, where they are wanted.
    """

    width: int
    height: int
    prepared: Prepared
    pixels: np.ndarray | None

    @property
    def kind(self) -> tuple[int, ...]:
        """Images of the same kind can share a batch."""
        return size_of(self.prepared)

    @property
    def bytes(self) -> int:
        """That it holds."""
        return self.prepared["inputs"].nbytes + (0 if self.pixels is None else self.pixels.nbytes)


def read_picture(path: Path, predictor: Predictor, keep: bool = True) -> Picture:
    """An image as a predictor takes it; `keep` its own pixels, too.

    Raises:
        ValueError: naming the file, when it is no image, is damaged, too large or too narrow.
    """
    pixels = read_pixels(path, predictor.load_pixels)
    prepared = predictor.prepare(pixels, path)
    return Picture(pixels.shape[1], pixels.shape[0], prepared, pixels if keep else None)


def read_pixels(path: Path, load: Callable[[Path], np.ndarray]) -> np.ndarray:
    """An image's pixels (H, W, 3) uint8 in BGR, by what decodes them.

    Raises:
        ValueError: naming the file, when it is no image, is damaged or too large.
    """
    check_header(path)
    try:
        return load(path)
    except Exception as error:  # a hostile file can make the decoder fail in any way
        raise ValueError(f"{path}: the image is damaged or of an unknown kind") from error


def weight_of(path: Path) -> int:
    """Bytes that an image takes while it is decoded, as its header says; 0 for what will be refused."""
    try:
        return 6 * check_header(path)  # its pixels, and once more resized, at most
    except ValueError:
        return 0


def check_header(path: Path) -> int:
    """How many pixels an image has; raises ValueError naming the file when it is none, or its size would fill the memory."""
    if not path.is_file():
        raise ValueError(f"{path}: {'expected an image file' if path.exists() else 'does not exist'}")
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"{path}: has {path.stat().st_size} bytes, more than the {MOST_BYTES} that are read")
    try:
        with Image.open(path) as image:
            pixels = image.width * image.height
    except Image.DecompressionBombError:
        pixels = MOST_PIXELS + 1
    except PermissionError:
        raise ValueError(f"{path}: reading it is not permitted") from None
    except Exception as error:  # a hostile file can make the reader fail in any way
        raise ValueError(f"{path}: cannot be read as an image") from error
    if pixels > MOST_PIXELS:
        raise ValueError(f"{path}: larger than the {MOST_PIXELS // 10**6} megapixels that are read")
    return pixels

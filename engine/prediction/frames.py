"""Video files: their frames read one by one, and written one by one."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
from PIL import Image

from ..predictor import Prepared
from .reading import MOST_PIXELS

VIDEOS = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv"})  # suffixes
CODEC = "mp4v"  # MPEG-4 part 2, which every build of OpenCV writes
FINEST, SLOWEST = 2**16 - 1, 0.01  # parts of a second, frames a second
USUAL_RATE, FASTEST = 25.0, 1000.0  # frames a second: of a video that does not say, and that are believed
LOCAL = {
    "OPENCV_FFMPEG_CAPTURE_OPTIONS": "protocol_whitelist;file",  # a video may name others, of the network too
    "OPENCV_FFMPEG_LOGLEVEL": "-8",  # quiet
}


@dataclass(frozen=True)
class Frame:
    """A frame of a video.

    Attributes:
        index: from 0 on.
        seconds: from the start of the video.
        pixels: (H, W, 3) uint8 in BGR.
        prepared: what the network takes of it.
    """

    index: int
    seconds: float
    pixels: np.ndarray
    prepared: Prepared

    @property
    def bytes(self) -> int:
        """That it holds."""
        return self.pixels.nbytes + self.prepared["inputs"].nbytes


class Video:
    """A video file, read once from its start.

    Args:
        path: of the file.
        every: each so-many-th frame is read, the first one first.

    Attributes:
        rate: frames a second.
        said: how many frames the file says it has; 0 where it does not say.

    Raises:
        ValueError: naming the file, when it is no video, or one whose frames would fill the memory.
    """

    def __init__(self, path: Path, every: int = 1) -> None:
        self.path, self.every = path, every
        if not path.is_file():
            raise ValueError(f"{path}: expected a video file")
        with _environment(LOCAL):
            self._capture = cv2.VideoCapture(str(path.absolute()), cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            raise ValueError(f"{path}: cannot be read as a video")
        asked = (cv2.CAP_PROP_FPS, cv2.CAP_PROP_FRAME_COUNT, cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
        rate, frames, width, height = map(self._capture.get, asked)
        if width * height > MOST_PIXELS:
            raise ValueError(f"{path}: its frames are larger than the {MOST_PIXELS // 10**6} megapixels that are read")
        self.rate = rate if math.isfinite(rate) and 0 < rate <= FASTEST else USUAL_RATE
        self.said = int(frames) if math.isfinite(frames) and 0 < frames < 2**31 else 0

    def read(self, number: int, prepare: Callable[[np.ndarray, object], Prepared]) -> Frame | None:
        """The frame that is read as this number, from 0 on; None at the end.

        Raises:
            ValueError: when it cannot be resized.
        """
        skipped = self.every - 1 if number else 0
        if not all(self._capture.grab() for _ in range(skipped)):
            return None
        there, pixels = self._capture.read()
        if not there:
            return None
        index, stamp = number * self.every, self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        seconds = stamp if math.isfinite(stamp) and stamp > 0 else index / self.rate
        return Frame(index, seconds, pixels, prepare(pixels, self.path))

    def close(self) -> None:
        """Let go of the file."""
        self._capture.release()


class DrawnVideo:
    """An MP4 without sound that is written frame by frame, aside; it gets its name at the end, whatever ended it.

    Args:
        path: of the file.
        rate: frames a second.

    Raises:
        OSError: when it cannot be written, or not whole.
    """

    def __init__(self, path: Path, rate: float) -> None:
        self.path, self.rate, self.count = path, countable(rate), 0
        self._aside = path.with_name(f"{path.stem}.part.mp4")
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)

    def __enter__(self) -> DrawnVideo:
        return self

    def put(self, image: Image.Image) -> None:
        """One more frame; it is brought to the size of the first one."""
        if self._writer is None:
            self._size = image.size
            codec = cv2.VideoWriter.fourcc(*CODEC)
            self._writer = cv2.VideoWriter(str(self._aside.absolute()), cv2.CAP_FFMPEG, codec, self.rate, self._size)
            if not self._writer.isOpened():
                raise OSError(f"{self.path}: a video of {self._size[0]} x {self._size[1]} pixels cannot be written")
        pixels = np.asarray(image if image.size == self._size else image.resize(self._size))
        self._writer.write(np.ascontiguousarray(pixels[..., ::-1]))
        self.count += 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._writer is None:
            return
        self._writer.release()
        if not self._aside.exists():  # it could not be begun, and that is being said
            return
        if kind is None and _frames_of(self._aside) != self.count:  # OpenCV does not say that a disk is full
            self._aside.unlink(missing_ok=True)
            raise OSError(f"{self.path}: the video could not be written whole; is the disk full?")
        self._aside.replace(self.path)


def countable(rate: float) -> float:
    """The nearest rate that MPEG-4 can hold, which counts time in at most FINEST parts of a second.

    >>> countable(1000 / 7), countable(29.97), countable(0.0001)
    (142.86, 29.97, 0.01)
    """
    places = next(places for places in (3, 2, 1, 0) if rate * 10**places <= FINEST)
    return max(round(rate, places), SLOWEST)


def _frames_of(path: Path) -> int:
    try:
        video = Video(path)
    except ValueError:
        return 0
    video.close()
    return video.said


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Environment variables that hold inside; those that somebody has set stay."""
    own = {name: value for name, value in variables.items() if name not in os.environ}
    os.environ.update(own)
    try:
        yield
    finally:
        for name in own:
            os.environ.pop(name, None)

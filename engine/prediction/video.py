"""Detections of a video: drawn on its frames, and a JSON line for each frame.

A thread decodes frames while the network works on those before, and others draw; memory holds a few batches of frames, however
long the video is.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from PIL import Image

from ...data.files import json_text
from ...evidence.drawing.detections import draw_detections
from ...heads import Detections
from ..batching import ahead, in_batches
from ..predictor import Predictor, size_of
from ..progress import progress_bar
from .clock import Clock
from .frames import DrawnVideo, Frame, Video
from .images import drawers
from .naming import Named
from .wanted import Outcome, Wanted
from .writing import listed, written

LEAST_SHARE = 0.9  # of the frames that a file says it has: containers may be a little wrong


def predict_video(
    predictor: Predictor, file: Named, folder: Path, wanted: Wanted, clock: Clock, quiet: bool = False
) -> Outcome:
    """Detect in a video; leaves STEM.jsonl and, if it is to be drawn, STEM.mp4, or nothing where no frame can be read.

    Each line has the frame's index from 0 on, its seconds from the start, and detections with label, score and box (xyxy
    pixels). The drawing has no sound. After an interruption both files hold what was done.

    Args:
        predictor: of the model.
        file: of the video.
        folder: that is written into.
        wanted: what.
        clock: of the command.
        quiet: no progress bar.

    Raises:
        OSError: for a disk that takes no more.
    """
    with ExitStack() as stack:
        try:
            video = stack.enter_context(closing(Video(file.path, wanted.every)))
            frames = stack.enter_context(closing(_read(video, predictor, clock)))
            first = next(frames)  # what has none leaves no file
        except ValueError as error:
            return Outcome(failures=(str(error),))
        every_frame = itertools.chain([first], frames)
        done, detections = _done(predictor, video, every_frame, folder / file.stem, wanted, clock, quiet)
    said = -(-video.said // wanted.every)
    failures = () if done >= LEAST_SHARE * said else (f"{file.path}: ends after {done} of its {said} frames",)
    return Outcome(videos=1, frames=done, detections=detections, failures=failures)


def _read(video: Video, predictor: Predictor, clock: Clock) -> Iterator[Frame]:
    """The frames of a video, in order, decoded by a thread.

    Raises:
        ValueError: when there is none, or they cannot be resized.
    """

    def read(index: int) -> Frame | None:
        with clock.during("reading"):
            return video.read(index, predictor.prepare)

    frames = (frame for _, frame in ahead(itertools.count(), read, threads=1))
    first = next(frames)
    if first is None:
        raise ValueError(f"{video.path}: holds no frame that can be read")
    yield first
    yield from itertools.takewhile(lambda frame: frame is not None, frames)


def _done(
    predictor: Predictor, video: Video, frames: Iterator[Frame], base: Path, wanted: Wanted, clock: Clock, quiet: bool
) -> tuple[int, int]:
    """How many frames were done, and how many detections they have."""

    def detect(several: list[Frame]) -> list[Detections]:
        with clock.during("network"):
            return predictor.detect([frame.prepared for frame in several], wanted.score, wanted.limit)

    def draw(pair: tuple[Frame, Detections]) -> Image.Image:
        with clock.during("writing"):
            return draw_detections(pair[0].pixels, pair[1], predictor.classes)

    done = detections = 0
    found = in_batches(frames, detect, wanted.batch, lambda frame: size_of(frame.prepared), lambda frame: frame.bytes)
    with ExitStack() as stack:
        lines = stack.enter_context(written(base.with_name(f"{base.name}.jsonl")))
        advance = stack.enter_context(progress_bar(video.path.name, -(-video.said // wanted.every) or None, quiet))
        put: Callable[[Image.Image], None] | None = None
        if wanted.draw:
            put = stack.enter_context(DrawnVideo(base.with_name(f"{base.name}.mp4"), video.rate / wanted.every)).put
        drawn = ahead(found, draw, drawers(), lambda pair: pair[0].bytes) if put else ((pair, None) for pair in found)
        for (frame, detected), picture in drawn:
            with clock.during("writing"):
                if put:
                    put(picture)
                lines.write(json_text(_line(frame, detected, predictor.classes)) + "\n")
            done, detections = done + 1, detections + len(detected.scores)
            advance()
    return done, detections


def _line(frame: Frame, found: Detections, classes: tuple[str, ...]) -> dict[str, Any]:
    return {"frame": frame.index, "seconds": round(frame.seconds, 3), "detections": listed(found, classes)}

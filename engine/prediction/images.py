"""Detections of image files, which are read ahead, pass the network in batches, and are drawn and cut by threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from ...data import DataSource
from ..batching import ahead, in_batches
from ..predictor import Predictor
from ..progress import progress_bar
from .clock import Clock
from .drawing import cut, draw
from .naming import Named
from .reading import Picture, read_picture, weight_of
from .wanted import Outcome, Wanted
from .writing import FORMS, Found


def predict_images(
    predictor: Predictor,
    source: DataSource,
    images: Sequence[Named],
    folder: Path,
    wanted: Wanted,
    clock: Clock,
    quiet: bool = False,
) -> Outcome:
    """Detect in image files; an image that cannot be read is left out and named in what is returned.

    Args:
        predictor: of the model.
        source: the data whose classes it knows.
        images: files.
        folder: that is written into.
        wanted: what.
        clock: of the command.
        quiet: no progress bar.
    """
    done, detections, failures = 0, 0, []
    with ExitStack() as stack:
        forms = dict.fromkeys(("json", *wanted.forms))
        writers = [stack.enter_context(FORMS[form](folder, source)) for form in forms]
        advance = stack.enter_context(progress_bar("predict", len(images), quiet))
        for each in _saved(_found(predictor, images, wanted, clock), folder, predictor.classes, wanted, clock):
            if isinstance(each, Found):
                with clock.during("writing"):
                    for write in writers:
                        write(each)
                done, detections = done + 1, detections + len(each.detections.scores)
            else:
                failures.append(str(each))
            advance()
    return Outcome(images=done, detections=detections, failures=tuple(failures))


def _found(predictor: Predictor, images: Sequence[Named], wanted: Wanted, clock: Clock) -> Iterator[Found | ValueError]:
    """What is found in every image, or what is wrong with it, in order."""

    def detect(several: list[tuple[Named, Picture]]) -> list:
        with clock.during("network"):
            return predictor.detect([picture.prepared for _, picture in several], wanted.score, wanted.limit)

    read = partial(_read, predictor=predictor, keep=wanted.draw or wanted.crops, clock=clock)
    pictures = ahead(images, read, readers(predictor), lambda image: weight_of(image.path))
    kind = {"kind": lambda one: getattr(one[1], "kind", None), "weigh": lambda one: getattr(one[1], "bytes", 0)}
    for (file, picture), detections in in_batches(pictures, detect, wanted.batch, **kind):
        if isinstance(picture, ValueError):
            yield picture
        else:
            yield Found(file, picture, detections, f"{file.stem}.png" if wanted.draw else None)


def _read(image: Named, predictor: Predictor, keep: bool, clock: Clock) -> Picture | ValueError:
    """The image, or what is wrong with it."""
    with clock.during("reading"):
        try:
            return read_picture(image.path, predictor, keep)
        except ValueError as error:
            return error


def _saved(
    images: Iterator[Found | ValueError], folder: Path, classes: Sequence[str], wanted: Wanted, clock: Clock
) -> Iterator[Found | ValueError]:
    """The same, in order, each when its own pictures lie in the folder."""
    asked = {draw: wanted.draw, cut: wanted.crops}
    savers: list[Callable[[Found, Path, Sequence[str]], None]] = [save for save, is_asked in asked.items() if is_asked]
    if not savers:
        return images

    def save(each: Found | ValueError) -> None:
        if isinstance(each, Found):
            with clock.during("writing"):
                for saver in savers:
                    saver(each, folder, classes)

    pictures = ahead(images, save, drawers(), lambda each: each.picture.bytes if isinstance(each, Found) else 0)
    return (each for each, _ in pictures)


def readers(predictor: Predictor) -> int:
    """Threads that read: more than one where the processor has nothing else to do."""
    return drawers() if predictor.device.type == "cuda" else 1


def drawers() -> int:
    """Threads that draw."""
    return max(1, min(4, (os.cpu_count() or 1) - 1))

"""Detections of image files: drawn on a copy of each image, and listed in one JSON file.

Files are read ahead by threads, pass the network in batches of one size, and are drawn by threads again; memory does not
grow with their number.
"""

from __future__ import annotations

import os
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..data.files import new_folder
from ..data.pictures import silent_decoder
from ..evidence.drawing.detections import draw_detections
from ..evidence.drawing.fonts import warn_of_missing_letters
from ..heads import Detections
from .batching import ahead, in_batches
from .checkpoints import Chosen, choose
from .config import CONFIG, source_of
from .files import naming
from .prediction.reading import Picture, read_picture, weight_of
from .prediction.writing import drawing_names, entry_of, json_list, save_picture
from .predictor import Predictor
from .progress import progress_bar
from .train import calm, find_config

PREDICTIONS = "predictions.json"


@dataclass(frozen=True)
class Summary:
    """How many images were done, how many detections they have, and one sentence for each image that failed."""

    images: int
    detections: int
    failures: tuple[str, ...]


def predict(
    config: Mapping[str, Any],
    checkpoint: Path,
    images: Sequence[Path],
    folder: Path,
    score: float = 0.3,
    limit: int | None = None,
    draw: bool = True,
    quiet: bool = False,
    compiled: bool = False,
    batch: int = 1,
    half: bool = False,
) -> Summary:
    """Detect in image files; leaves PREDICTIONS and, with `draw`, a PNG per image in `folder`.

    An image that cannot be read is left out and named in the summary. PREDICTIONS is a list with an object per image:
    file, width, height (pixels, turned as its EXIF says), drawing, and detections with label, score and box (xyxy
    pixels). After an interruption it holds what was done. Drawings of small images are enlarged a whole number of times.

    Args:
        config: resolved; its data set need not be there.
        checkpoint: of this very model.
        images: files, as `find_images` gives them.
        folder: new or empty.
        score: detections at or below it are left out.
        limit: at most so many detections per image; None keeps the model's own limit. A query detector has no more than
            queries times classes.
        draw: write PNGs.
        quiet: no progress bar.
        compiled: translate the network with torch.compile first, which takes about a minute, up to as long again for some
            image sizes, and gains 0 to 10 % of the time per image on a CPU.
        batch: at most so many images pass the network together, those that have one size there; none is padded for others.
        half: compute the network in float16, on a CPU in bfloat16.

    Raises:
        ValueError, OSError: for a checkpoint of another model, a folder in use, and a disk that takes no more.
    """
    done = detections = 0
    failures = []
    if draw:
        warn_of_missing_letters(source_of(config).classes)
    with calm(), silent_decoder(), naming(folder):
        predictor = Predictor.load(config, checkpoint, half, compiled)
        new_folder(folder).mkdir(parents=True, exist_ok=True)
        with json_list(folder / PREDICTIONS) as write, progress_bar("predict", len(images), quiet) as advance:
            for each in _drawn(_found(predictor, images, score, limit, batch, draw), folder, predictor.classes, draw):
                if isinstance(each.picture, Picture):
                    write(entry_of(each.path, each.picture, each.found, predictor.classes, each.drawing))
                    done, detections = done + 1, detections + len(each.found.scores)
                else:
                    failures.append(str(each.picture))
                advance()
    return Summary(done, detections, tuple(failures))


@dataclass(frozen=True)
class _Done:
    """An image file, what was read of it or why it could not be, and what was found; its drawing's name, if it has one."""

    path: Path
    picture: Picture | ValueError
    found: Detections | None
    drawing: str | None


def _found(
    predictor: Predictor, images: Sequence[Path], score: float, limit: int | None, batch: int, draw: bool
) -> Iterator[_Done]:
    """Every image with what is found in it, in order."""
    read = ahead(images, partial(_read, predictor=predictor, keep=draw), _threads(predictor), weight_of)
    names = drawing_names(images) if draw else [None] * len(images)
    worked = in_batches(
        read,
        lambda several: predictor.detect([picture.prepared for _, picture in several], score, limit),
        batch,
        kind=lambda one: one[1].kind if isinstance(one[1], Picture) else None,
        weigh=lambda one: one[1].bytes if isinstance(one[1], Picture) else 0,
    )
    for ((path, picture), found), name in zip(worked, names, strict=True):
        yield _Done(path, picture, found, name)


def _read(path: Path, predictor: Predictor, keep: bool) -> Picture | ValueError:
    """The image, or what is wrong with it."""
    try:
        return read_picture(path, predictor, keep)
    except ValueError as error:
        return error


def _drawn(images: Iterator[_Done], folder: Path, classes: Sequence[str], draw: bool) -> Iterator[_Done]:
    """The same, in order, when the drawing of each lies in the folder."""
    if not draw:
        return images

    def save(each: _Done) -> None:
        if isinstance(each.picture, Picture):
            save_picture(draw_detections(each.picture.pixels, each.found, classes), folder / each.drawing)

    return (each for each, _ in ahead(images, save, _drawers(), lambda each: getattr(each.picture, "bytes", 0)))


def _threads(predictor: Predictor) -> int:
    """That read: more than one where the processor has nothing else to do."""
    return _drawers() if predictor.device.type == "cuda" else 1


def _drawers() -> int:
    return max(1, min(4, (os.cpu_count() or 1) - 1))


def find_model(
    path: Path, wanted: str | None = None, trust: bool = False, given: Container[str] = ()
) -> tuple[dict[str, Any], Chosen]:
    """Config and checkpoint of a run's folder, or of one checkpoint in it; its code is loaded.

    Args:
        path: of the folder or the checkpoint.
        wanted: of a folder: "best", "last" or a file; the best, or where there is none the last, if left out.
        trust, given: as of `imports.restore`.

    Raises:
        FileNotFoundError: when there is no such run or checkpoint, or no config beside the checkpoint.
        ValueError: when no checkpoint can be read, and for code of the run that may not run.
    """
    if path.is_dir():
        return find_config(path, trust, given), choose(path, wanted)
    if not path.exists():
        raise FileNotFoundError(f"run folder {path} does not exist")
    if wanted is not None:
        raise ValueError(f"--checkpoint {wanted}: {path} is a checkpoint already; leave one of the two out")
    if not (path.parent / CONFIG).is_file():
        raise FileNotFoundError(f"checkpoint {path}: expected the {CONFIG} of its run beside it")
    return find_config(path.parent, trust, given), Chosen(path, None)

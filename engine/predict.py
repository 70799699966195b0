"""Detections of image files: drawn on a copy of each image, and listed in one JSON file.

Images pass one at a time, through evaluation's own transforms: memory does not grow with their number, and what is
found in one does not depend on how its neighbours pad it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from PIL import Image
from torch import nn

from ..data.files import json_text, new_folder
from ..data.pictures import silent_decoder
from ..evidence.drawing.detections import draw_detections
from ..evidence.drawing.fonts import warn_of_missing_letters
from ..heads import Detections
from .build import build_model, load_checkpoint
from .checkpoints import Chosen, choose
from .config import CONFIG, source_of
from .datasets import eval_steps
from .device import device_of
from .files import naming
from .progress import progress_bar
from .train import calm, find_config

PREDICTIONS = "predictions.json"
SUFFIXES = frozenset(
    {".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
)  # of images; other files are known by their content
MOST_PIXELS = 150_000_000  # 450 MB once decoded; Pillow refuses from 179 million on
MOST_BYTES = 2**30  # of a file: more than that many pixels take uncompressed


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

    Raises:
        ValueError, OSError: for a checkpoint of another model, a folder in use, and a disk that takes no more.
    """
    done = detections = 0
    failures = []
    if draw:
        warn_of_missing_letters(source_of(config).classes)
    with calm(), silent_decoder(), naming(folder):
        detector = ImageDetector(config, checkpoint, score, limit, compiled)
        new_folder(folder).mkdir(parents=True, exist_ok=True)
        with _json_list(folder / PREDICTIONS) as write, progress_bar("predict", len(images), quiet) as advance:
            for path, name in zip(images, drawing_names(images), strict=True):
                try:
                    pixels, inputs = detector.read(path)
                except ValueError as error:
                    failures.append(str(error))
                else:
                    found = detector(inputs)
                    if draw:
                        _save(draw_detections(pixels, found, detector.classes), folder / name)
                    write(_entry(path, pixels, found, detector.classes, name if draw else None))
                    done, detections = done + 1, detections + len(found.scores)
                advance()
    return Summary(done, detections, tuple(failures))


class ImageDetector:
    """A trained model on image files.

    Args:
        config, checkpoint, score, limit, compiled: as in `predict`.
    """

    def __init__(
        self, config: Mapping[str, Any], checkpoint: Path, score: float, limit: int | None, compiled: bool = False
    ) -> None:
        self.classes = source_of(config).classes
        self.score = score
        self.model = build_model(config, initialise=False)
        load_checkpoint(self.model, checkpoint, self.classes)
        self.model.to(device_of(config)).eval()
        settings = replace(self.model.post_process, score_threshold=score)
        if limit:
            settings = replace(settings, max_per_image=limit, per_level=max(limit, settings.per_level))
        self.model.post_process = settings
        if compiled:
            compile_network(self.model)
        self._load, self._prepare = eval_steps(config["input"])

    def read(self, path: Path) -> tuple[np.ndarray, dict[str, Any]]:
        """The pixels of an image (H, W, 3) uint8 in BGR, and what the model takes of it.

        Raises:
            ValueError: naming the file, when it is no image, is damaged, too large or too narrow.
        """
        check_header(path)
        try:
            loaded = self._load({"img_path": str(path)})
        except Exception as error:  # a hostile file can make the decoder fail in any way
            raise ValueError(f"{path}: the image is damaged or of an unknown kind") from error
        pixels = loaded["img"]
        try:
            return pixels, self._prepare(loaded)
        except cv2.error as error:
            size = f"{pixels.shape[1]} x {pixels.shape[0]}"
            raise ValueError(f"{path}: {size} pixels cannot be brought to the model's size") from error

    @torch.no_grad()
    def __call__(self, inputs: dict[str, Any]) -> Detections:
        """Detections in pixels of the image that `read` gave, on the CPU, scores falling."""
        found = self.model.test_step(pseudo_collate([inputs]))[0].pred_instances.cpu()
        kept = found.scores > self.score  # the model filters by class score alone, before centerness lowers it
        return Detections(found.bboxes[kept], found.scores[kept], found.labels[kept])


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


def find_images(paths: Sequence[Path], recursive: bool = False) -> list[Path]:
    """The files among `paths`, and the image files in those that are folders, by name; each once.

    `left_out` names what a folder holds besides. Files whose names begin with a dot are passed over.

    Args:
        paths: files and folders.
        recursive: look into the folders of a folder, too; not through links.

    Raises:
        FileNotFoundError: when a path does not exist or a folder holds no image that can be read.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"image {path} does not exist")
        files = _sorted_out(path, recursive)[0] if path.is_dir() else [path]
        if not files:
            reasons = "".join(f"; {sentence}" for sentence in left_out([path], recursive))
            raise FileNotFoundError(f"folder {path} holds no image that can be read{reasons}")
        for file in files:
            found.setdefault(file.resolve(), file)
    return list(found.values())


def left_out(paths: Sequence[Path], recursive: bool = False) -> list[str]:
    """A sentence for each folder of which `find_images` leaves something out."""
    sentences = []
    for path in filter(Path.is_dir, paths):
        _, others, folders = _sorted_out(path, recursive)
        parts = [f"{count} {kind}" for kind, count in others.most_common()]
        if folders:
            parts.append(f"{folders} folder{'s' * (folders > 1)}{'' if recursive else ' (see --recursive)'}")
        if parts:
            sentences.append(f"{path}: left out: {', '.join(parts)}")
    return sentences


def check_header(path: Path) -> None:
    """Raise ValueError naming the file when it is no image, or one whose size would fill the memory."""
    if not path.is_file():
        raise ValueError(f"{path}: expected an image file")
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


def drawing_names(images: Sequence[Path]) -> list[str]:
    """A file name for each image's drawing; no two are the same, on file systems without upper case either.

    >>> drawing_names([Path("a/cat.jpg"), Path("b/cat.png"), Path("dog.jpg")])
    ['cat.png', 'cat-2.png', 'dog.png']
    """
    taken: set[str] = set()
    names = []
    for image in images:
        name, number = image.stem, 1
        while name.casefold() in taken:
            number += 1
            name = f"{image.stem}-{number}"
        taken.add(name.casefold())
        names.append(f"{name}.png")
    return names


def _entry(
    path: Path, pixels: np.ndarray, found: Detections, classes: Sequence[str], drawing: str | None
) -> dict[str, Any]:
    rows = zip(found.boxes.tolist(), found.scores.tolist(), found.labels.tolist(), strict=True)
    return {
        "file": str(path),
        "width": pixels.shape[1],
        "height": pixels.shape[0],
        "drawing": drawing,
        "detections": [
            {"label": classes[label], "score": round(score, 4), "box": [round(side, 2) for side in box]}
            for box, score, label in rows
        ],
    }


def _sorted_out(folder: Path, recursive: bool) -> tuple[list[Path], Counter[str], int]:
    """The images in a folder that can be read, by name; how many files of which other kinds; how many folders."""
    images, others, closed = [], Counter(), []
    folders = 0
    for place, inner, names in os.walk(folder, onerror=closed.append):
        shown = [name for name in inner if not name.startswith(".")]
        inner[:] = [name for name in shown if recursive and not (Path(place) / name).is_symlink()]
        folders += len(shown) - len(inner)
        for path in (Path(place) / name for name in names if not name.startswith(".")):
            if _is_image(path):
                images.append(path)
            else:
                others[path.suffix.lower() or "without a suffix"] += 1
    return sorted(images), others, folders + len(closed)


def _is_image(path: Path) -> bool:
    """Whether a file's name or content is that of an image whose kind both readers know."""
    if not path.is_file():
        return False
    if path.suffix.lower() in SUFFIXES:
        return True
    with silent_decoder(), suppress(Exception):  # a hostile file can make a reader fail in any way
        if cv2.haveImageReader(str(path)):
            with Image.open(path):
                return True
    return False


def _save(image: Image.Image, path: Path) -> None:
    """Write a PNG aside and rename it; lightly compressed, which is several times faster and little larger."""
    aside = path.with_name(path.name + ".part")
    image.save(aside, format="PNG", compress_level=1)
    aside.replace(path)


@contextmanager
def _json_list(path: Path) -> Iterator[Callable[[Any], None]]:
    """Writes a JSON list entry by entry, aside; renamed at the end, whatever ended it."""
    aside, before = path.with_name(path.name + ".part"), "["

    def write(entry: Any) -> None:
        nonlocal before
        file.write(f"{before}\n{json_text(entry)}")
        before = ","

    with aside.open("w", encoding="utf-8") as file:
        try:
            yield write
        finally:
            file.write("\n]\n" if before == "," else "[]\n")
            file.flush()
            aside.replace(path)

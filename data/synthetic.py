"""The embedded data set: generated scenes written as a COCO data set.

The same parameters give the same bytes under the same versions of NumPy and OpenCV. Picture k of a split depends on
the seed, the split and k alone, so a larger set begins with the pictures of a smaller one. `area` is that of the box.
Annotations carry, beside COCO's keys, `visible`: the share of the object that occlusion and the border leave.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from .files import json_text, new_folder, read_json, written_aside
from .scene import Scene, draw_scene
from .shapes import CLASSES
from .style import SceneStyle

__all__ = ["Summary", "make_dataset"]

SPLITS = ("train", "val")
_GENERATOR = 1  # raised whenever the same parameters give other pictures
_RECORD = "synthetic.json"
_OURS = {"train.json", "val.json", "images", _RECORD}
_IMAGE_NAME = re.compile(r"(train|val)_\d{6}\.jpg")
_JPEG_QUALITY = 92

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Summary:
    """What `make_dataset` left in `directory`; `reused` tells that an identical set was already there."""

    directory: Path
    train_images: int
    val_images: int
    train_boxes: int
    val_boxes: int
    reused: bool


def make_dataset(
    directory: str | Path,
    images: int = 2000,
    seed: int = 0,
    size: int = 160,
    val_fraction: float = 0.2,
    style: SceneStyle | None = None,
    progress: Progress | None = None,
    replace: bool = False,
) -> Summary:
    """Generate `images` pictures (train and val together) of `size` x `size` pixels as a COCO data set.

    Writes `directory`/train.json, val.json, images/*.jpg and synthetic.json, the record of the parameters. Everything
    is written into a folder beside `directory` that takes its name at the end, so an interruption leaves nothing
    half-written. A finished set of the same parameters is reused. `replace` lets go of a set made here that is another or
    has lost files; whatever else lies there is never touched.
    `progress` is called with (images done, images in all) after each picture.

    Raises ValueError for senseless parameters and FileExistsError when `directory` holds anything else.
    """
    directory, style = Path(directory), style or SceneStyle()
    _check_parameters(images, seed, size, val_fraction, style)
    val_images = min(max(1, round(images * val_fraction)), images - 1)
    counts = {"train": images - val_images, "val": val_images}
    parameters = {"generator": _GENERATOR, "seed": seed, "size": size, "images": counts, "style": asdict(style)}
    boxes = _boxes_of_finished(directory, parameters)
    reused = boxes is not None
    if boxes is None:
        if replace:
            _refuse_foreign(directory)
        else:
            new_folder(directory)
        with written_aside(directory) as aside:
            boxes = _write_set(aside, parameters, style, progress)
    return Summary(directory, *counts.values(), boxes["train"], boxes["val"], reused)


def _check_parameters(images: int, seed: int, size: int, val_fraction: float, style: SceneStyle) -> None:
    for name, value, low, high in (("images", images, 2, 999_999), ("seed", seed, 0, 2**63), ("size", size, 32, 4096)):
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"{name} must be a whole number between {low} and {high}, got {value!r}")
    if not 0 < val_fraction < 1:
        raise ValueError(f"val_fraction must lie between 0 and 1, got {val_fraction!r}")
    if style.smallest_side > size / 4:
        raise ValueError(f"smallest_side must be at most a quarter of size {size}, got {style.smallest_side!r}")


def _boxes_of_finished(directory: Path, parameters: dict[str, Any]) -> dict[str, int] | None:
    """Boxes per split of a complete set of these parameters in `directory`, None when there is none."""
    try:
        record = read_json(directory / _RECORD)
        pictures = [e.name for e in (directory / "images").iterdir() if _IMAGE_NAME.fullmatch(e.name)]
        complete = len(pictures) == sum(parameters["images"].values())
        complete = complete and all((directory / f"{split}.json").is_file() for split in SPLITS)
        return record["boxes"] if complete and record["parameters"] == parameters else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _refuse_foreign(directory: Path) -> None:
    """Raise FileExistsError unless `directory` is absent, empty, or holds a generated set and nothing else."""
    if not directory.exists():
        return
    if not directory.is_dir():
        raise FileExistsError(f"{directory} is a file; name a new or empty folder for the generated data set")
    present = {entry.name for entry in directory.iterdir()}
    images = directory / "images"
    foreign = present - _OURS if _RECORD in present else present
    foreign |= {e.name for e in images.iterdir() if not _IMAGE_NAME.fullmatch(e.name)} if images.is_dir() else set()
    if foreign:
        raise FileExistsError(
            f"{directory} holds {min(foreign)!r}, which is no part of a generated data set; "
            "name a new or empty folder, nothing was changed"
        )


def _write_set(
    folder: Path, parameters: dict[str, Any], style: SceneStyle, progress: Progress | None
) -> dict[str, int]:
    """Write pictures, annotation files and the record into `folder`; returns the boxes of each split."""
    (folder / "images").mkdir()
    boxes, done, total = {}, 0, sum(parameters["images"].values())
    for stream, split in enumerate(SPLITS):
        document = _empty_document(split, parameters)
        for index in range(parameters["images"][split]):
            rng = np.random.default_rng([parameters["seed"], stream, index])
            scene = draw_scene(rng, parameters["size"], style, allow_empty=index > 0)
            _add_scene(document, scene, name := f"{split}_{index:06d}.jpg")
            _write_image(folder / "images" / name, scene.image)
            done += 1
            if progress:
                progress(done, total)
        _write_json(folder / f"{split}.json", document)
        boxes[split] = len(document["annotations"])
    _write_json(folder / _RECORD, {"parameters": parameters, "boxes": boxes})
    return boxes


def _empty_document(split: str, parameters: dict[str, Any]) -> dict[str, Any]:
    return {
        "info": {"description": f"detassign synthetic shapes, {split}", **parameters},
        "licenses": [],
        "images": [],
        "annotations": [],
        "categories": [{"id": i, "name": name, "supercategory": "shape"} for i, name in enumerate(CLASSES, 1)],
    }


def _add_scene(document: dict[str, Any], scene: Scene, name: str) -> None:
    """Append an image and its annotations; ids count from 1 in each file."""
    rows, columns = scene.image.shape[:2]
    image_id = len(document["images"]) + 1
    document["images"].append({"id": image_id, "file_name": name, "width": columns, "height": rows})
    for box, label, visible in zip(scene.boxes, scene.labels, scene.visible, strict=True):
        x, y, width, height = (round(float(value), 2) for value in (*box[:2], *(box[2:] - box[:2])))
        document["annotations"].append(
            {
                "id": len(document["annotations"]) + 1,
                "image_id": image_id,
                "category_id": int(label) + 1,
                "bbox": [x, y, width, height],
                "area": round(width * height, 2),
                "iscrowd": 0,
                "visible": round(float(visible), 3),
            }
        )


def _write_image(path: Path, image: np.ndarray) -> None:
    encoded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1]
    path.write_bytes(encoded.tobytes())  # unlike cv2.imwrite, this says why it fails


def _write_json(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json_text(document), encoding="utf-8")

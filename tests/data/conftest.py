"""A tiny sound data set to break in one place at a time, and a sample of generated scenes."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from detassign.data.scene import Scene, draw_scene
from detassign.data.style import SceneStyle


def sound_document(first_image: int = 1) -> dict:
    """Two images of 40 x 30 pixels and three boxes of two classes, one class id left out."""
    return {
        "images": [
            {"id": first_image + i, "file_name": f"{first_image + i}.png", "width": 40, "height": 30} for i in range(2)
        ],
        "annotations": [
            {"id": 1, "image_id": first_image, "category_id": 1, "bbox": [2, 3, 10, 8], "area": 80, "iscrowd": 0},
            {"id": 2, "image_id": first_image, "category_id": 2, "bbox": [6, 3, 10, 8], "area": 80, "iscrowd": 0},
            {"id": 3, "image_id": first_image + 1, "category_id": 2, "bbox": [0, 0, 40, 30], "area": 99, "iscrowd": 0},
        ],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    }


@pytest.fixture
def sound_set(tmp_path: Path) -> Path:
    """A folder with train.json, val.json and images/ in which nothing is wrong."""
    folder = tmp_path / "sound"
    (folder / "images").mkdir(parents=True)
    for split, first_image in (("train", 1), ("val", 3)):
        document = sound_document(first_image)
        (folder / f"{split}.json").write_text(json.dumps(document))
        for image in document["images"]:
            cv2.imwrite(str(folder / "images" / image["file_name"]), np.zeros((30, 40, 3), np.uint8))
    return folder


@pytest.fixture
def edit(sound_set: Path) -> Callable[[Callable[[dict], object], str], None]:
    """Change the parsed annotation file of a split in place."""

    def change(mutate: Callable[[dict], object], split: str = "train") -> None:
        path = sound_set / f"{split}.json"
        document = json.loads(path.read_text())
        mutate(document)
        path.write_text(json.dumps(document))

    return change


@pytest.fixture(scope="session")
def scenes() -> list[Scene]:
    """160 scenes of the default style."""
    return [draw_scene(np.random.default_rng([1, k]), 160, SceneStyle()) for k in range(160)]

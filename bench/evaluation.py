"""COCO's evaluation of many detections, ours over columns, pycocotools over result entries: seconds, memory, averages."""

from __future__ import annotations

import math
import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from io import StringIO
from typing import Any, NamedTuple

import numpy as np
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ..engine.detected import Detected
from ..engine.hooks import peak_memory_bytes
from ..evidence.evaluation.coco import Detections, Objects, evaluate
from .memory import start_over

__all__ = ["SIDES", "Evaluated", "Split", "measure", "random_split"]

SIDE = 640  # pixels, of every image
LIMITS = (1, 10, 100)
NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR", "ARs", "ARm", "ARl")


class Split(NamedTuple):
    """A split and what was detected in it.

    Attributes:
        objects: annotations.
        found: of each image "bboxes" (K, 4) xyxy, "scores" (K,) and "labels" (K,), as a detector gives them.
        classes: how many there are.
    """

    objects: Objects
    found: list[dict[str, torch.Tensor]]
    classes: int


@dataclass(frozen=True)
class Evaluated:
    """What an evaluation took, from detections of each image to the averages.

    Attributes:
        side: who evaluated.
        seconds, cpu_seconds: of one evaluation.
        memory: bytes, the most that the process grew by.
        averages: COCO's twelve.
    """

    side: str
    seconds: float
    cpu_seconds: float
    memory: int
    averages: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def random_split(images: int, detections: int, classes: int, objects: int = 7, seed: int = 0) -> Split:
    """Objects at random places, each detected about where it is, and other boxes among them.

    Args:
        images: B.
        detections: of each image, at least as many as objects.
        classes: C.
        objects: of each image.
        seed: of all of it.
    """
    random = np.random.default_rng(seed)
    boxes, labels = _boxes(random, (images, detections)), random.integers(0, classes, (images, detections))
    truth = boxes[:, :objects].reshape(-1, 4)
    columns = np.repeat(np.arange(images), objects), labels[:, :objects].ravel(), truth, truth[:, 2] * truth[:, 3]
    boxes[:, :objects] += random.normal(0, 4, (images, objects, 4))
    corners = np.concatenate((boxes[..., :2], boxes[..., :2] + boxes[..., 2:].clip(1)), -1)
    scores = random.random((images, detections))
    found = [
        {"bboxes": torch.tensor(corners[image]), "scores": torch.tensor(scores[image]), "labels": torch.tensor(own)}
        for image, own in enumerate(labels)
    ]
    return Split(Objects(*columns, np.zeros(len(truth), bool)), found, classes)


def measure(make: Callable[[], Split], sides: Sequence[str] = ("detassign", "pycocotools")) -> Iterator[Evaluated]:
    """Each side in a fresh process, one behind the other.

    Args:
        make: a module's function or a partial of one, since it goes to that process.
        sides: of SIDES.
    """
    for side in sides:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            yield pool.submit(_measured, side, make).result()


def _measured(side: str, make: Callable[[], Split]) -> Evaluated:
    evaluation = SIDES[side](make())
    before = start_over()
    started, cpu_started = time.perf_counter(), time.process_time()
    averages = evaluation()
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
    return Evaluated(side, seconds, cpu_seconds, max(1, peak_memory_bytes() - before), averages)


def over_columns(split: Split) -> Callable[[], dict[str, float]]:
    """As training evaluates."""

    def evaluation() -> dict[str, float]:
        detected = Detected.joined(Detected.in_image(image, found) for image, found in enumerate(split.found))
        classes = tuple(str(label) for label in range(split.classes))
        accuracy, _ = evaluate(split.objects, Detections(*detected), classes, len(split.found), LIMITS)
        averages = accuracy.average_precisions() | accuracy.average_recalls()
        return {name: averages[name] for name in NAMES}

    return evaluation


def over_entries(split: Split) -> Callable[[], dict[str, float]]:
    """As pycocotools is fed: lists of dicts."""
    truth = _truth(split)

    def evaluation() -> dict[str, float]:
        entries = [
            entry
            for image, found in enumerate(split.found)
            for entry in Detected.in_image(image, found).entries(range(split.classes))
        ]
        with redirect_stdout(StringIO()):
            found = COCOeval(truth, truth.loadRes(entries), "bbox")
            found.evaluate()
            found.accumulate()
            found.summarize()
        averages = (math.nan if value == -1 else value for value in found.stats.tolist())  # -1: no such object
        return dict(zip(NAMES, averages, strict=True))

    return evaluation


def _truth(split: Split) -> COCO:
    truth, objects = COCO(), split.objects
    rows = zip(*(column.tolist() for column in objects[:4]), strict=True)
    truth.dataset = {
        "images": [{"id": image, "width": SIDE, "height": SIDE} for image in range(len(split.found))],
        "categories": [{"id": label} for label in range(split.classes)],
        "annotations": [
            {"id": 1 + place, "image_id": image, "category_id": label, "bbox": box, "area": area, "iscrowd": 0}
            for place, (image, label, box, area) in enumerate(rows)
        ],
    }
    with redirect_stdout(StringIO()):
        truth.createIndex()
    return truth


SIDES = {"detassign": over_columns, "pycocotools": over_entries}


def _boxes(random: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """(*shape, 4) x, y, width, height within the image, of all of COCO's sizes."""
    size = np.exp(random.uniform(np.log(8), np.log(256), (*shape, 2)))
    return np.concatenate((random.random((*shape, 2)) * (SIDE - size), size), -1)

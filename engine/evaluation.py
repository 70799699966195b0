"""COCO average precision and recall by pycocotools, at a stated number of detections per image."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ..data import DataSource
from ..data.reader import load_split
from ..data.table import Table
from ..evidence.evaluation.accuracy import AVERAGE_PRECISIONS as METRICS
from ..evidence.evaluation.accuracy import Accuracy
from ..evidence.evaluation.coco import Detections, Objects, evaluate
from ..evidence.evaluation.matching import Matching

__all__ = [
    "CLASSES",
    "METRICS",
    "AveragePrecision",
    "Evaluation",
    "average_precision",
    "coco_detections",
    "evaluated",
    "metrics_of",
]

CLASSES = "classes"  # the metric that is a dict: AP of each class by its name
DIGITS = 5  # of a class's AP: a file of metrics has a line of them for every evaluation


class AveragePrecision(BaseMetric):
    """Collects detections and reports AP, AP50, AP75 and AP of small, medium and large objects and of each class, in [0, 1].

    Args:
        source: the data set.
        split: "val", "train" or "test".
        max_detections: at most so many detections of an image and class count. COCO's rule is 100; a set with more objects
            in an image needs more, and the number belongs beside the AP.
        thorough: keep the detections and all that was made of them, in the process that computes the metrics.

    Attributes:
        detections: COCO result entries of all images; none unless `thorough`.
        evaluation: the same as `evaluated` gives; None unless `thorough`.

    Raises:
        ValueError: for annotations that forbid evaluation.
    """

    def __init__(
        self, source: DataSource, split: str = "val", max_detections: int = 100, thorough: bool = False
    ) -> None:
        super().__init__(collect_device="gpu")  # from process to process, not through files; works on CPUs as well
        self.truth = load_split(source, split)
        self.category_ids = source.category_ids
        self.max_detections = max_detections
        self.thorough = thorough
        self.detections: list[dict[str, Any]] = []
        self.evaluation: Evaluation | None = None

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        for sample in data_samples:
            found = coco_detections(sample["img_id"], sample["pred_instances"], self.category_ids)
            self.results.append({"image_id": sample["img_id"], "detections": found})

    def compute_metrics(self, results: list[dict[str, Any]]) -> dict[str, Any]:
        detections = [found for image in results for found in image["detections"]]
        if not self.thorough:
            images = sorted({image["image_id"] for image in results})
            return average_precision(self.truth, detections, images, self.max_detections)
        self.detections = detections
        self.evaluation = evaluated(self.truth, detections, self.max_detections)
        return metrics_of(self.evaluation.accuracy, tuple(self.truth.classes.values()))


def coco_detections(image_id: int, found: Any, category_ids: Sequence[int]) -> list[dict[str, Any]]:
    """COCO result entries of one image from boxes (K, 4) xyxy, scores (K,) and labels (K,)."""
    boxes = found["bboxes"].cpu().double().numpy()
    sizes = boxes[:, 2:] - boxes[:, :2]
    rows = zip(
        boxes.tolist(), sizes.tolist(), found["scores"].cpu().tolist(), found["labels"].cpu().tolist(), strict=True
    )
    return [
        {"image_id": image_id, "category_id": category_ids[label], "bbox": [*box[:2], *size], "score": score}
        for box, size, score, label in rows
    ]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What COCO's evaluation makes of detections.

    Attributes:
        accuracy: averages of precision and recall, classes in the order of labels.
        matching: which object each detection found at an IoU of 0.5; without detections beyond the limit and in crowds.
    """

    accuracy: Accuracy
    matching: Matching


def average_precision(
    truth: Table, detections: list[dict[str, Any]], image_ids: Sequence[int], max_detections: int = 100
) -> dict[str, Any]:
    """AP, AP50, AP75, APs, APm, APl in [0, 1], and under "classes" AP by class name; NaN without objects of that size or class.

    truth: what `load_split` gives, the very annotations that are learnt; detections: COCO result entries.
    """
    return metrics_of(_accuracy(_run(truth, detections, image_ids, (max_detections,))), tuple(truth.classes.values()))


def metrics_of(accuracy: Accuracy, classes: Sequence[str]) -> dict[str, Any]:
    """The same of what was evaluated already."""
    values = {name: accuracy.average_precisions(label)["AP"] for label, name in enumerate(classes)}
    return {**accuracy.average_precisions(), CLASSES: {name: round(value, DIGITS) for name, value in values.items()}}


def evaluated(truth: Table, detections: list[dict[str, Any]], max_detections: int = 100) -> Evaluation:
    """All that `average_precision` knows of detections of all images of a split, and which object each found."""
    limits = (*(limit for limit in (1, 10) if limit < max_detections), max_detections)
    by_id = np.argsort(truth.image_ids, kind="stable")  # pycocotools goes through images by their ids
    place, row = np.argsort(by_id), {number: row for row, number in enumerate(truth.image_ids[by_id].tolist())}
    label = {number: label for label, number in enumerate(truth.classes)}
    accuracy, matching = evaluate(
        Objects(place[truth.owners], truth.labels, truth.boxes, truth.areas, truth.crowd),
        Detections(
            np.array([row[one["image_id"]] for one in detections], int),
            np.array([label[one["category_id"]] for one in detections], int),
            np.array([one["bbox"] for one in detections], float).reshape(-1, 4),
            np.array([one["score"] for one in detections], float),
        ),
        tuple(truth.classes.values()),
        len(truth.image_ids),
        limits,
    )
    images = {name: by_id[getattr(matching, name)] for name in ("object_images", "detection_images")}
    return Evaluation(accuracy, replace(matching, **images))


def _run(truth: Table, detections: list[dict[str, Any]], image_ids: Sequence[int], limits: Sequence[int]) -> COCOeval:
    with contextlib.redirect_stdout(io.StringIO()):
        objects = _as_coco(truth)
        evaluation = COCOeval(objects, objects.loadRes(detections) if detections else COCO(), "bbox")
        evaluation.params.imgIds = list(image_ids)
        evaluation.params.maxDets = list(limits)
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation


def _accuracy(evaluation: COCOeval) -> Accuracy:
    found = evaluation.eval
    return Accuracy(found["precision"][..., -1], found["recall"], tuple(evaluation.params.maxDets))


def _as_coco(truth: Table) -> COCO:
    objects = COCO()
    objects.dataset = truth.document()
    objects.createIndex()
    return objects

"""COCO average precision by pycocotools, at a stated number of detections per image."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ..data import DataSource
from ..data.reader import load_split
from ..data.table import Table

SIZES = ("all", "small", "medium", "large")  # the order of pycocotools' areaRng
METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl")
CLASSES = "classes"  # the metric that is a dict: AP of each class by its name
DIGITS = 5  # of a class's AP: a file of metrics has a line of them for every evaluation


class AveragePrecision(BaseMetric):
    """Collects detections and reports AP, AP50, AP75 and AP of small, medium and large objects and of each class, in [0, 1].

    Args:
        source: the data set.
        split: "val", "train" or "test".
        max_detections: at most so many detections of an image and class count. COCO's rule is 100; a set with more objects
            in an image needs more, and the number belongs beside the AP.

    Raises:
        ValueError: for annotations that forbid evaluation.
    """

    def __init__(self, source: DataSource, split: str = "val", max_detections: int = 100) -> None:
        super().__init__(collect_device="gpu")  # from process to process, not through files; works on CPUs as well
        self.truth = load_split(source, split)
        self.category_ids = source.category_ids
        self.max_detections = max_detections

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        for sample in data_samples:
            found = coco_detections(sample["img_id"], sample["pred_instances"], self.category_ids)
            self.results.append({"image_id": sample["img_id"], "detections": found})

    def compute_metrics(self, results: list[dict[str, Any]]) -> dict[str, Any]:
        detections = [found for image in results for found in image["detections"]]
        images = sorted({image["image_id"] for image in results})
        return average_precision(self.truth, detections, images, self.max_detections)


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


def average_precision(
    truth: Table, detections: list[dict[str, Any]], image_ids: Sequence[int], max_detections: int = 100
) -> dict[str, Any]:
    """AP, AP50, AP75, APs, APm, APl in [0, 1], and under "classes" AP by class name; NaN without objects of that size or class.

    truth: what `load_split` gives, the very annotations that are learnt; detections: COCO result entries.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        objects = _as_coco(truth)
        evaluation = COCOeval(objects, objects.loadRes(detections) if detections else COCO(), "bbox")
        evaluation.params.imgIds = list(image_ids)
        evaluation.params.maxDets = [max_detections]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][..., -1]  # (IoU 10, recall 101, class, size)
    values = [_mean(precision[..., 0]), _mean(precision[0, ..., 0]), _mean(precision[5, ..., 0])]
    values += [_mean(precision[..., size]) for size in range(1, len(SIZES))]
    classes = [round(_mean(precision[:, :, index, 0]), DIGITS) for index in range(precision.shape[2])]
    names = (truth.classes[number] for number in evaluation.params.catIds)
    return {**dict(zip(METRICS, values, strict=True)), CLASSES: dict(zip(names, classes, strict=True))}


def _as_coco(truth: Table) -> COCO:
    objects = COCO()
    objects.dataset = truth.document()
    objects.createIndex()
    return objects


def _mean(precision: np.ndarray) -> float:
    present = precision[precision > -1]
    return float(present.mean()) if present.size else float("nan")

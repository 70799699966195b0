"""COCO average precision and recall, at a stated number of detections per image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric

from ..data import DataSource
from ..data.reader import load_split
from ..data.table import Table
from ..evidence.evaluation.accuracy import AVERAGE_PRECISIONS as METRICS
from ..evidence.evaluation.accuracy import Accuracy
from ..evidence.evaluation.coco import Detections, Objects, evaluate
from ..evidence.evaluation.matching import Matching
from .detected import Detected

__all__ = [
    "CLASSES",
    "METRICS",
    "AveragePrecision",
    "Evaluation",
    "average_precision",
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
            self.results.append((sample["img_id"], Detected.in_image(sample["img_id"], sample["pred_instances"])))

    def compute_metrics(self, results: list[tuple[int, Detected]]) -> dict[str, Any]:
        """Of all processes' images; mmengine hands columns over in plain tuples."""
        detected = Detected.joined(own for _, own in results)
        if not self.thorough:
            return average_precision(self.truth, detected, [image for image, _ in results], self.max_detections)
        self.detections = detected.entries(self.category_ids)
        self.evaluation = evaluated(self.truth, detected, self.max_detections)
        return metrics_of(self.evaluation.accuracy, tuple(self.truth.classes.values()))


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
    truth: Table, detected: Detected, image_ids: Sequence[int], max_detections: int = 100
) -> dict[str, Any]:
    """AP, AP50, AP75, APs, APm, APl in [0, 1], and under "classes" AP by class name; NaN without objects of that size or class.

    truth: what `load_split` gives, the very annotations that are learnt; detected: in the images `image_ids`.
    """
    return metrics_of(evaluated(truth, detected, max_detections, image_ids).accuracy, tuple(truth.classes.values()))


def metrics_of(accuracy: Accuracy, classes: Sequence[str]) -> dict[str, Any]:
    """The same of what was evaluated already."""
    values = {name: accuracy.average_precisions(label)["AP"] for label, name in enumerate(classes)}
    return {**accuracy.average_precisions(), CLASSES: {name: round(value, DIGITS) for name, value in values.items()}}


def evaluated(
    truth: Table, detected: Detected, max_detections: int = 100, image_ids: Sequence[int] | None = None
) -> Evaluation:
    """All that `average_precision` knows, and which object each detection found; of all images without `image_ids`."""
    limits = (*(limit for limit in (1, 10) if limit < max_detections), max_detections)
    chosen = np.arange(len(truth.image_ids))
    if image_ids is not None:
        chosen = np.flatnonzero(np.isin(truth.image_ids, image_ids))
    by_id = chosen[
        np.argsort(truth.image_ids[chosen], kind="stable")
    ]  # COCO's evaluation goes through images by their ids
    place = np.full(len(truth.image_ids), -1)
    place[by_id] = np.arange(len(by_id))
    seen = place[truth.owners] >= 0
    objects = (place[truth.owners], truth.labels, truth.boxes, truth.areas, truth.crowd)
    accuracy, matching = evaluate(
        Objects(*(column[seen] for column in objects)),
        Detections(np.searchsorted(truth.image_ids[by_id], detected.image_ids), *detected[1:]),
        tuple(truth.classes.values()),
        len(by_id),
        limits,
    )
    images = {name: by_id[getattr(matching, name)] for name in ("object_images", "detection_images")}
    return Evaluation(accuracy, replace(matching, **images))

"""Average precision against what pycocotools prints."""

import json
import math

import pytest
import torch

from detassign.data import make_dataset, resolve
from detassign.data.reader import load_split, read_annotations
from detassign.engine.evaluation import average_precision, coco_detections


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "shapes"
    make_dataset(folder, images=20, size=96, val_fraction=0.5)
    return resolve(folder)


def truth_as_detections(source):
    document = json.loads(source.val_annotations.read_text())
    rows = [{**{k: a[k] for k in ("image_id", "category_id", "bbox")}, "score": 1.0} for a in document["annotations"]]
    return rows, [image["id"] for image in document["images"]]


def test_the_truth_scores_one(source):
    detections, images = truth_as_detections(source)
    assert average_precision(load_split(source, "val"), detections, images)["AP"] == pytest.approx(1.0)


def test_nothing_found_scores_zero(source):
    metrics = average_precision(load_split(source, "val"), [], truth_as_detections(source)[1])
    assert metrics["AP"] == 0.0
    assert all(value == 0.0 or math.isnan(value) for value in metrics.values())


def test_a_limit_below_the_number_of_objects_of_a_class_costs_recall(tmp_path):
    boxes = [[0, 0, 9, 9], [20, 0, 9, 9], [40, 0, 9, 9]]
    rows = [{"image_id": 1, "category_id": 1, "bbox": box} for box in boxes]
    document = {
        "images": [{"id": 1, "file_name": "a.png", "width": 64, "height": 64}],
        "annotations": [{"id": i, **row} for i, row in enumerate(rows, 1)],
        "categories": [{"id": 1, "name": "cell"}],
    }
    path = tmp_path / "val.json"
    path.write_text(json.dumps(document))
    truth = read_annotations(path).table.cleaned()
    detections = [{**row, "score": 1.0} for row in rows]
    assert average_precision(truth, detections, [1], max_detections=3)["AP"] == pytest.approx(1.0)
    assert average_precision(truth, detections, [1], max_detections=1)["AP"] == pytest.approx(1 / 3, abs=0.01)


def test_shifted_boxes_pass_a_loose_threshold_only(source):
    detections, images = truth_as_detections(source)
    for row in detections:
        row["bbox"] = [row["bbox"][0] + row["bbox"][2] * 0.2, *row["bbox"][1:]]  # IoU 0.8 / 1.2 = 2/3
    metrics = average_precision(load_split(source, "val"), detections, images)
    assert metrics["AP50"] > 0.9
    assert metrics["AP75"] < 0.1


def test_labels_become_the_files_category_ids():
    found = {"bboxes": torch.tensor([[1.0, 2, 4, 8]]), "scores": torch.tensor([0.5]), "labels": torch.tensor([1])}
    entry = coco_detections(7, found, category_ids=(3, 90))
    assert entry == [{"image_id": 7, "category_id": 90, "bbox": [1.0, 2.0, 3.0, 6.0], "score": 0.5}]

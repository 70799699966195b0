"""Average precision of cases whose value is known; tests/evidence compares it with pycocotools."""

import json
import math

import pytest
import torch

from detassign.data import make_dataset, resolve
from detassign.data.reader import load_split, read_annotations
from detassign.engine.detected import Detected
from detassign.engine.evaluation import average_precision


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "shapes"
    make_dataset(folder, images=20, size=96, val_fraction=0.5)
    return resolve(folder)


def truth_as_detections(source):
    document = json.loads(source.val_annotations.read_text())
    rows = [{**{k: a[k] for k in ("image_id", "category_id", "bbox")}, "score": 1.0} for a in document["annotations"]]
    return rows, [image["id"] for image in document["images"]]


def measured(truth, entries, images, **limit):
    return average_precision(truth, Detected.read(entries, truth.classes), images, **limit)


def test_the_truth_scores_one(source):
    detections, images = truth_as_detections(source)
    assert measured(load_split(source, "val"), detections, images)["AP"] == pytest.approx(1.0)


def test_nothing_found_scores_zero(source):
    metrics = measured(load_split(source, "val"), [], truth_as_detections(source)[1])
    assert metrics["AP"] == 0.0
    values = [*metrics.pop("classes").values(), *metrics.values()]
    assert all(value == 0.0 or math.isnan(value) for value in values)


def test_each_class_has_an_ap_of_its_own_under_its_name(tmp_path):
    """Of two classes with objects one is found; the ids are in no order, and a class without an object has no AP."""
    categories = [{"id": 9, "name": "cell"}, {"id": 2, "name": "细胞 <b>"}, {"id": 5, "name": "none"}]
    rows = [{"image_id": 1, "category_id": number, "bbox": [20 * number, 0, 9, 9]} for number in (9, 2)]
    document = {
        "images": [{"id": 1, "file_name": "a.png", "width": 640, "height": 64}],
        "annotations": [{"id": i, **row} for i, row in enumerate(rows, 1)],
        "categories": categories,
    }
    path = tmp_path / "val.json"
    path.write_text(json.dumps(document))
    truth = read_annotations(path).table.cleaned()
    metrics = measured(truth, [{**rows[0], "score": 1.0}], [1])
    assert metrics["classes"] == {"细胞 <b>": 0.0, "none": pytest.approx(math.nan, nan_ok=True), "cell": 1.0}
    assert metrics["AP"] == pytest.approx(0.5)


def test_ap_is_the_mean_of_the_classes(source):
    detections, images = truth_as_detections(source)
    for index, row in enumerate(detections):
        row["bbox"] = [row["bbox"][0] + row["bbox"][2] * 0.05 * (index % 5), *row["bbox"][1:]]
    metrics = measured(load_split(source, "val"), detections, images)
    present = [value for value in metrics["classes"].values() if not math.isnan(value)]
    assert len(present) > 1
    assert metrics["AP"] == pytest.approx(sum(present) / len(present), abs=1e-5)


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
    assert measured(truth, detections, [1], max_detections=3)["AP"] == pytest.approx(1.0)
    assert measured(truth, detections, [1], max_detections=1)["AP"] == pytest.approx(1 / 3, abs=0.01)


def test_shifted_boxes_pass_a_loose_threshold_only(source):
    detections, images = truth_as_detections(source)
    for row in detections:
        row["bbox"] = [row["bbox"][0] + row["bbox"][2] * 0.2, *row["bbox"][1:]]  # IoU 0.8 / 1.2 = 2/3
    metrics = measured(load_split(source, "val"), detections, images)
    assert metrics["AP50"] > 0.9
    assert metrics["AP75"] < 0.1


def test_labels_become_the_files_category_ids():
    found = {"bboxes": torch.tensor([[1.0, 2, 4, 8]]), "scores": torch.tensor([0.5]), "labels": torch.tensor([1])}
    entries = Detected.in_image(7, found).entries(category_ids=(3, 90))
    assert entries == [{"image_id": 7, "category_id": 90, "bbox": [1.0, 2.0, 3.0, 6.0], "score": 0.5}]
    back = Detected.read(entries, (3, 90))
    assert [column.tolist() for column in back] == [column.tolist() for column in Detected.in_image(7, found)]


def test_images_that_were_not_looked_at_do_not_count(source):
    """Of a part of the images only their own objects are missed."""
    detections, images = truth_as_detections(source)
    truth, some = load_split(source, "val"), images[::2]
    kept = [row for row in detections if row["image_id"] in some]
    assert measured(truth, kept, some)["AP"] == pytest.approx(1.0)
    assert measured(truth, kept, images)["AP"] < 0.9

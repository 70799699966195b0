"""Training and evaluation see the same annotations, and those alone: whatever is odd about a file."""

import json

import cv2
import numpy as np
import pytest

from detassign.data import resolve
from detassign.data.reader import load_split
from detassign.detectors.targets import targets_of
from detassign.engine.config import INPUT
from detassign.engine.datasets import DetectionData, train_loader
from detassign.engine.detected import Detected
from detassign.engine.evaluation import AveragePrecision, average_precision

SETTINGS = {**INPUT, "scale": (64, 64), "flip": (), "workers": 0}
SIDE = 64


@pytest.fixture
def data_of(tmp_path):
    """A data set of two images whose annotations, in both splits, are given without id and image: the first's."""

    def make(*annotations, **changes):
        (tmp_path / "images").mkdir(exist_ok=True)
        images = [{"id": 5 + i, "file_name": f"{i}.png", "width": SIDE, "height": SIDE} for i in range(2)]
        for image in images:
            cv2.imwrite(str(tmp_path / "images" / image["file_name"]), np.zeros((SIDE, SIDE, 3), np.uint8))
        rows = [{"id": i, "image_id": 5, "category_id": 1, **row} for i, row in enumerate(annotations, 1)]
        categories = [{"id": 1, "name": "cell"}, {"id": 2, "name": "drop"}]
        document = {"images": images, "annotations": rows, "categories": categories, **changes}
        for split in ("train", "val"):
            (tmp_path / f"{split}.json").write_text(json.dumps(document))
        return resolve(tmp_path)

    return make


def box(x, y, width=10, height=10, **more):
    return {"bbox": [x, y, width, height], "area": width * height, "iscrowd": 0, **more}


def found(*boxes, image=5, score=0.9):
    """Detections of the first class."""
    return [{"image_id": image, "category_id": 1, "bbox": list(b), "score": score} for b in boxes]


def ap(source, detections):
    truth = load_split(source, "val")
    return average_precision(truth, Detected.read(detections, truth.classes), [5, 6])["AP"]


GOOD = [box(2, 2), box(20, 20), box(40, 40), box(2, 40, category_id=2)]
PERFECT = [*found(*(b["bbox"] for b in GOOD[:3])), {**found(GOOD[3]["bbox"])[0], "category_id": 2}]


@pytest.mark.parametrize(
    "changed",
    [
        [{**b, "id": i} for i, b in enumerate(GOOD)],
        [{**b, "id": 0} for b in GOOD],
        [{**b, "id": None} for b in GOOD],
        [{k: v for k, v in b.items() if k == "bbox" or k == "category_id"} for b in GOOD],
        [{**b, "area": 0, "iscrowd": None} for b in GOOD],
        [*GOOD, box(50, 2, -8, -8)],
        [*GOOD, box(50, 2, 0.5, 8)],
        [*GOOD, box(200, 200)],
        [*GOOD, box(50, 2, ignore=1)],
        [*GOOD, box(50, 2, iscrowd=1)],
    ],
    ids=["id-from-0", "ids-0", "ids-null", "no-keys", "no-area", "inverted", "thin", "outside", "ignored", "crowd"],
)
def test_perfect_detections_have_an_ap_of_one(data_of, changed):
    assert ap(data_of(*changed), PERFECT) == pytest.approx(1.0)


def test_a_miss_still_counts(data_of):
    """Two of three objects of one class, which is half of the mean."""
    assert ap(data_of(*GOOD), PERFECT[1:]) == pytest.approx((67 / 101 + 1) / 2)


@pytest.mark.parametrize("key", ["iscrowd", "ignore"])
def test_what_is_found_in_an_ignored_region_is_no_error(data_of, key):
    inside = [*found((50, 2, 10, 10), (51, 3, 4, 4), score=1.0), *PERFECT]
    assert ap(data_of(*GOOD, box(50, 2)), inside) < 0.95
    assert ap(data_of(*GOOD), inside) < 0.9
    assert ap(data_of(*GOOD, box(50, 2, **{key: 1})), inside) == pytest.approx(1.0)


def test_a_box_across_the_border_is_found_by_what_can_be_seen_of_it(data_of):
    assert ap(data_of(box(-10, 2, 20, 10)), found((0, 2, 10, 10))) == pytest.approx(1.0)


ODD = [
    box(-10, 2, 20, 10),
    box(60, 60),
    box(2, 2, 0.3),
    box(2, 2, -5),
    box(70, 70),
    box(20, 2, ignore=1),
    box(20, 20, iscrowd=1),
    box(20, 40, area=0),
    box(20, 40, iscrowd=None),
    box(20, 40, id=1),
]


def learnt(source):
    """Boxes xyxy, labels and crowd flags of every image, as the data set hands them to mmdet."""
    dataset = DetectionData(source, "train", [])
    return {
        info["img_id"]: [(*entry["bbox"], entry["bbox_label"], entry["ignore_flag"]) for entry in info["instances"]]
        for info in map(dataset.get_data_info, range(len(dataset)))
    }


def measured(source):
    """The same of what is measured."""
    document = AveragePrecision(source, "train").truth.document()
    rows = {image["id"]: [] for image in document["images"]}
    for entry in document["annotations"]:
        x, y, width, height = entry["bbox"]
        rows[entry["image_id"]].append((x, y, x + width, y + height, entry["category_id"] - 1, entry["iscrowd"]))
    return rows


@pytest.mark.parametrize("rows", [*([odd] for odd in ODD), ODD], ids=str)
def test_what_is_learnt_is_what_is_measured(data_of, rows):
    source = data_of(box(30, 30), *rows, box(5, 5, image_id=6))
    assert learnt(source) == measured(source)


def test_ignored_objects_are_ignore_boxes_of_the_assigner(data_of):
    source = data_of(box(10, 10), box(30, 30, ignore=1), box(50, 50, iscrowd=1))
    (batch,) = train_loader(source, SETTINGS, batch_size=2, seed=0)
    samples = sorted(batch["data_samples"], key=lambda sample: sample.img_id)
    for sample in samples:
        sample.gt_instances.bboxes = sample.gt_instances.bboxes.tensor
        sample.ignored_instances.bboxes = sample.ignored_instances.bboxes.tensor
    targets = targets_of(samples)
    assert targets.boxes[0, targets.mask[0]].tolist() == [[10, 10, 20, 20]]
    assert targets.ignore_boxes[0].tolist() == [[30, 30, 40, 40], [50, 50, 60, 60]]


def test_no_box_without_extent_reaches_the_assigner(data_of):
    """Where sizes are listed for larger pictures than are there."""
    images = [{"id": 5, "file_name": "0.png", "width": 2 * SIDE, "height": 2 * SIDE}]
    source = data_of(box(10, 10, 40, 40), box(100, 100), box(60, 60, 40, 40), images=images)
    for flip in ((), ("horizontal", "vertical")):
        (batch,) = train_loader(source, {**SETTINGS, "flip": flip}, batch_size=1, seed=0)
        boxes = batch["data_samples"][0].gt_instances.bboxes.tensor
        assert len(boxes) == 2
        assert (boxes[:, 2:] > boxes[:, :2]).all()


def test_faults_are_refused_by_training_and_evaluation_in_the_same_words(data_of):
    source = data_of({"bbox": [1, 2, 3], "area": 3})
    sentences = set()
    for build in (lambda: DetectionData(source, "val", []), lambda: AveragePrecision(source)):
        with pytest.raises(ValueError, match="must be a list of four numbers") as refused:
            build()
        sentences.add(str(refused.value))
    assert len(sentences) == 1

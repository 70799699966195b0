"""mmdet's data set under our rules: label order, crowds, empty images, order of batches."""

import json
import resource

import cv2
import numpy as np
import pytest
import torch

from detassign.data import make_dataset, resolve
from detassign.data.reader import read_annotations
from detassign.detectors.targets import targets_of
from detassign.engine.config import INPUT
from detassign.engine.datasets import eval_loader, train_loader
from detassign.engine.entries import Entries

SETTINGS = {**INPUT, "scale": (64, 64), "flip": ()}


@pytest.fixture
def folder(tmp_path):
    """Two images; categories out of order with gaps; a crowd region; a missing area."""
    (tmp_path / "images").mkdir()
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / "images" / name), np.zeros((64, 64, 3), np.uint8))
    document = {
        "images": [
            {"id": 1, "file_name": "a.png", "width": 64, "height": 64},
            {"id": 2, "file_name": "b.png", "width": 64, "height": 64},
        ],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 9, "bbox": [4, 4, 20, 20], "area": 400, "iscrowd": 0},
            {"id": 2, "image_id": 1, "category_id": 2, "bbox": [30, 30, 10, 10]},
            {"id": 3, "image_id": 1, "category_id": 2, "bbox": [40, 4, 20, 20], "area": 400, "iscrowd": 1},
        ],
        "categories": [{"id": 9, "name": "late"}, {"id": 2, "name": "early"}],
    }
    for split in ("train", "val"):
        (tmp_path / f"{split}.json").write_text(json.dumps(document))
    return tmp_path


def test_labels_follow_category_ids_whatever_the_files_order(folder):
    source = resolve(folder)
    assert source.classes == ("early", "late")
    batch = next(iter(train_loader(source, SETTINGS, batch_size=2, seed=0)))
    samples = {sample.img_id: sample for sample in batch["data_samples"]}
    assert samples[1].gt_instances.labels.tolist() == [1, 0]


def test_crowds_are_ignore_boxes_and_empty_images_stay(folder):
    batch = next(iter(train_loader(resolve(folder), SETTINGS, batch_size=2, seed=0)))
    samples = sorted(batch["data_samples"], key=lambda sample: sample.img_id)
    for sample in samples:
        sample.gt_instances.bboxes = sample.gt_instances.bboxes.tensor
        sample.ignored_instances.bboxes = sample.ignored_instances.bboxes.tensor
    targets = targets_of(samples)
    assert targets.mask.sum(1).tolist() == [2, 0]
    assert targets.ignore_boxes[0, 0].tolist() == [40, 4, 60, 24]


def order(loader, epoch):
    loader.sampler.set_epoch(epoch)
    return [sample.img_id for batch in loader for sample in batch["data_samples"]]


def test_the_order_depends_on_seed_and_epoch_alone(tmp_path):
    make_dataset(tmp_path / "d", images=12, size=32)
    source = resolve(tmp_path / "d")
    first, again, other = (train_loader(source, SETTINGS, 2, seed) for seed in (0, 0, 1))
    assert order(first, 3) == order(again, 3)
    assert order(first, 3) != order(first, 4)
    assert order(first, 3) != order(other, 3)


def test_evaluation_sees_every_image_once_in_order(tmp_path):
    make_dataset(tmp_path / "d", images=10, size=32, val_fraction=0.5)
    loader = eval_loader(resolve(tmp_path / "d"), SETTINGS, batch_size=2)
    assert [sample.img_id for batch in loader for sample in batch["data_samples"]] == [1, 2, 3, 4, 5]
    assert next(iter(loader))["inputs"][0].dtype == torch.uint8


@pytest.mark.parametrize("side", ["width", "height"])
def test_an_image_too_thin_to_be_resized_is_named(folder, side):
    document = json.loads((folder / "train.json").read_text())
    document["images"][0] |= {"width": 700, "height": 700, side: 1}
    document["annotations"][0]["image_id"] = 2
    (folder / "train.json").write_text(json.dumps(document))
    shape = (1, 700, 3) if side == "height" else (700, 1, 3)
    cv2.imwrite(str(folder / "images" / "a.png"), np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match=r"a\.png \(\d+ x \d+\) cannot be read or resized"):
        list(train_loader(resolve(folder), {**SETTINGS, "workers": 0}, batch_size=2, seed=0))


def test_processes_that_read_data_may_have_as_many_files_open_as_the_system_allows(folder):
    """They hand over every tensor as an open file; a job that runs out of them hangs."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed, most = before
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed - 1, most))
    try:
        train_loader(resolve(folder), {**SETTINGS, "workers": 1}, batch_size=1, seed=0)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (most, most)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_entries_are_made_of_the_files_columns_in_its_order(tmp_path):
    """Annotations of three images lie mixed in the file; the second has none, and a crowd region carries its flag."""
    boxes = {7: [[1, 2, 3, 4], [10, 10, 5, 5]], 9: [[0, 0, 8, 2]]}
    rows = [(9, 1, boxes[9][0], 1), (7, 2, boxes[7][0], 0), (7, 1, boxes[7][1], 0)]
    document = {
        "images": [{"id": number, "file_name": f"{number}.png", "width": 32, "height": 24} for number in (9, 8, 7)],
        "annotations": [
            {"id": place, "image_id": image, "category_id": category, "bbox": box, "iscrowd": crowd}
            for place, (image, category, box, crowd) in enumerate(rows, 1)
        ],
        "categories": [{"id": 1, "name": "cell"}, {"id": 2, "name": "drop"}],
    }
    path = tmp_path / "train.json"
    path.write_text(json.dumps(document))
    entries = Entries(read_annotations(path).table.cleaned(), tmp_path)
    crowd, none, two = entries
    assert crowd["instances"] == [{"bbox": [0.0, 0.0, 8.0, 2.0], "bbox_label": 0, "ignore_flag": 1}]
    assert none == {"img_id": 8, "img_path": str(tmp_path / "8.png"), "width": 32, "height": 24, "instances": []}
    assert two["instances"] == [
        {"bbox": [1.0, 2.0, 4.0, 6.0], "bbox_label": 1, "ignore_flag": 0},
        {"bbox": [10.0, 10.0, 15.0, 15.0], "bbox_label": 0, "ignore_flag": 0},
    ]
    assert (len(entries), entries[-1], entries[1:]) == (3, two, [none, two])
    with pytest.raises(IndexError):
        entries[3]

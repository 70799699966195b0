"""Pictures with more objects: mosaics and mixtures for a part of the training, boxes that stay on their objects."""

import numpy as np
import pytest
import torch
from mmdet.structures.bbox import HorizontalBoxes

from detassign.data import make_dataset, resolve
from detassign.engine.config import INPUT
from detassign.engine.datasets import train_loader
from detassign.engine.dense_objects import DenseObjects, mixed

SCALE = (128, 96)


def scene(colour, box=(20.0, 10.0, 60.0, 50.0)):
    """A black picture of 120 x 80 with a rectangle of a colour in a box."""
    image = np.zeros((80, 120, 3), np.uint8)
    x1, y1, x2, y2 = map(int, box)
    image[y1:y2, x1:x2] = colour
    return {
        "img": image,
        "img_shape": (80, 120),
        "gt_bboxes": HorizontalBoxes(torch.tensor([box])),
        "gt_bboxes_labels": np.array([1]),
        "gt_ignore_flags": np.zeros(1, bool),
    }


def staged(progress, **choices):
    transform = DenseObjects(SCALE, **choices)
    transform.another = lambda: scene((0, 255, 0))
    transform.progress = progress
    return transform


@pytest.mark.parametrize("progress", [0.0, 0.05, 0.9, 0.99])
def test_outside_its_stages_a_picture_is_resized_alone(progress):
    found = staged(progress, mosaic=1.0, mixup=1.0)(scene((255, 0, 0)))
    assert found["img"].shape[:2] == (85, 128)
    assert len(found["gt_bboxes"]) == 1
    assert found["img"][..., 1].max() < 10


def test_a_mixture_has_the_objects_of_both():
    one, other = scene((200, 0, 0)), scene((0, 100, 0), (70.0, 30.0, 110.0, 70.0))
    found = mixed(one, other, 0.45)
    assert found["gt_bboxes"].tensor.tolist() == [[20, 10, 60, 50], [70, 30, 110, 70]]
    assert found["gt_bboxes_labels"].tolist() == [1, 1]
    assert found["img"][20, 30].tolist() == [90, 0, 0]
    assert found["img"][40, 80].tolist() == [0, 55, 0]


def test_a_mixture_of_two_sizes_is_as_large_as_both():
    wide, high = scene((9, 9, 9)), scene((9, 9, 9))
    high["img"] = high["img"].transpose(1, 0, 2)
    found = mixed(wide, high, 0.5)
    assert found["img"].shape == (120, 120, 3)
    assert found["img_shape"] == (120, 120)


def test_a_mosaic_has_objects_of_four_pictures_inside_it():
    np.random.seed(0)
    counts = []
    for _ in range(20):
        found = staged(0.2, mosaic=1.0, mixup=0.0)(scene((255, 0, 0)))
        assert found["img"].dtype == np.uint8
        assert found["img"].shape[:2] == (96, 128)
        boxes = found["gt_bboxes"]
        assert boxes.is_inside(found["img_shape"]).all()
        assert len(boxes) == len(found["gt_bboxes_labels"]) == len(found["gt_ignore_flags"])
        assert "mix_results" not in found
        counts.append(len(boxes))
    assert max(counts) == 4


def test_between_the_last_stages_pictures_are_changed_by_themselves():
    np.random.seed(0)
    for _ in range(5):
        found = staged(0.7, mosaic=1.0, mixup=1.0)(scene((255, 0, 0)))
        assert len(found["gt_bboxes"]) <= 1


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "shapes"
    make_dataset(folder, images=8, size=96)
    return resolve(folder)


def test_a_loader_takes_it_by_name_and_its_stage_from_the_run(source):
    """More objects in a picture in the middle of the training than at its beginning."""
    loader = train_loader(source, {**INPUT, "scale": SCALE, "augmentation": "dense"}, batch_size=4, seed=0)
    np.random.seed(0)
    means = {}
    for progress in (0.0, 0.3):
        loader.dataset.set_progress(progress)
        samples = [sample for _ in range(4) for batch in loader for sample in batch["data_samples"]]
        assert all(sample.gt_instances.bboxes.is_inside(sample.img_shape).all() for sample in samples)
        means[progress] = np.mean([len(sample.gt_instances) for sample in samples])
    assert means[0.3] > 1.3 * means[0.0]


@pytest.mark.parametrize(
    ("choices", "sentence"),
    [
        ({"mosaic": 1.5}, "mosaic: expected a probability, got 1.5"),
        ({"stages": (0.5, 0.2, 0.9)}, "stages: expected three rising shares"),
    ],
)
def test_wrong_settings_are_refused(choices, sentence):
    with pytest.raises(ValueError, match=sentence):
        DenseObjects(SCALE, **choices)

"""DETR's training augmentation: sizes out of the published sets, boxes that stay on their objects."""

import numpy as np
import pytest
import torch
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.dataset import Compose

from detassign.data import make_dataset, resolve
from detassign.engine import fragments
from detassign.engine.augmentation import PICTURES, dense, detr, pictures
from detassign.engine.config import INPUT, compose
from detassign.engine.datasets import _mmdet_scope, train_loader

SIDES = set(range(480, 801, 32))
COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255))
BOXES = np.array([[40, 60, 260, 240], [300, 40, 420, 400], [520, 300, 628, 440]], np.float32)


def build(augmentation):
    with _mmdet_scope():
        return Compose([augmentation])


def scene():
    """A black picture of 640 x 480 with a rectangle of a pure colour in each box."""
    image = np.zeros((480, 640, 3), np.uint8)
    for (x1, y1, x2, y2), colour in zip(BOXES.astype(int), COLOURS, strict=True):
        image[y1:y2, x1:x2] = colour
    return {
        "img": image,
        "img_shape": (480, 640),
        "gt_bboxes": HorizontalBoxes(torch.from_numpy(BOXES)),
        "gt_bboxes_labels": np.arange(3),
        "gt_ignore_flags": np.zeros(3, bool),
    }


def painted(image, label):
    """xyxy of the pixels that hold a colour, as far as it is the strongest by far."""
    other = np.delete(image.astype(int), label, -1).max(-1)
    ys, xs = np.nonzero(image[..., label].astype(int) - other > 127)
    return [] if len(xs) == 0 else [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]


def test_the_published_numbers_at_the_published_scale():
    """480, 512, …, 800 at most 1333 long; 400, 500 or 600 of any length, cropped to 384 to 600."""
    whole, cropped = detr((1333, 800))["transforms"]
    assert {scale for scale in whole[0]["scales"]} == {(1333, side) for side in SIDES}
    assert [side for _, side in cropped[0]["scales"]] == [400, 500, 600]
    assert min(long for long, _ in cropped[0]["scales"]) > 10_000
    assert cropped[1]["crop_size"] == (384, 600)
    assert cropped[2] == whole[0]


@pytest.mark.parametrize("seed", range(20))
def test_sizes_lie_in_the_published_sets_and_boxes_stay_on_their_objects(seed):
    """The short side is one of eleven unless the long one is at its limit; boxes match the paint within two pixels."""
    np.random.seed(seed)
    result = build(detr((1333, 800)))(scene())
    height, width = result["img"].shape[:2]
    assert result["img_shape"] == (height, width)
    assert max(height, width) <= 1333
    assert min(height, width) in SIDES or max(height, width) == 1333
    boxes, labels = result["gt_bboxes"].tensor.numpy(), result["gt_bboxes_labels"]
    assert len(boxes) == len(labels) == len(result["gt_ignore_flags"])
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    for box, label in zip(boxes, labels, strict=True):
        if (box[2:] - box[:2]).min() > 4:  # a thinner rest may have lost its colour in the resize
            assert np.abs(np.array(painted(result["img"], label)) - box).max() <= 2
    for label in set(range(3)) - set(labels):
        assert not painted(result["img"], label)


def test_crops_are_within_384_and_600_and_may_lose_every_box():
    """Without the last resize the crop's sides show; an object in the corner is often outside, and the image stays."""
    first, crop, _ = detr((1333, 800))["transforms"][1]
    transform = build({"type": "RandomChoice", "transforms": [[first, crop]]})
    np.random.seed(0)
    counts = []
    for _ in range(40):
        data = scene()
        data |= {"gt_bboxes": HorizontalBoxes(torch.tensor([[0.0, 0.0, 20.0, 20.0]])), "gt_bboxes_labels": np.zeros(1)}
        data["gt_ignore_flags"] = np.zeros(1, bool)
        result = transform(data)
        assert all(384 <= side <= 600 for side in result["img"].shape[:2])
        counts.append(len(result["gt_bboxes"]))
    assert set(counts) == {0, 1}


def test_a_smaller_scale_shrinks_all_lengths_alike():
    """Half the scale, half of every length, whatever the order of the sides."""
    whole, cropped = detr((400, 666))["transforms"]
    assert [side for _, side in whole[0]["scales"]] == list(range(240, 401, 16))
    assert cropped[1]["crop_size"] == (192, 300)


def test_losing_the_ratio_is_refused():
    """The augmentation has no form that stretches."""
    with pytest.raises(ValueError, match="keep_ratio"):
        detr((1333, 800), keep_ratio=False)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "shapes"
    make_dataset(folder, images=6, size=96)
    return resolve(folder)


def test_a_loader_takes_it_by_name(source):
    """Batches come as from any other setting, boxes inside their images."""
    settings = {**INPUT, "scale": (128, 100), "augmentation": "detr"}
    for batch in train_loader(source, settings, batch_size=2, seed=0):
        for image, sample in zip(batch["inputs"], batch["data_samples"], strict=True):
            assert sample.img_shape == tuple(image.shape[-2:])
            assert min(sample.img_shape) in range(60, 101, 4)
            assert sample.gt_instances.bboxes.is_inside(sample.img_shape).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"augmentation": "dert"}, "did you mean 'detr'"),
        ({"augmentation": "detr", "multi_scale": [(64, 64), (96, 96)]}, "input.multi_scale"),
    ],
)
def test_wrong_settings_are_refused(source, change, message):
    """An unknown name suggests the nearest; two ways to choose sizes exclude each other."""
    with pytest.raises(ValueError, match=message):
        train_loader(source, {**INPUT, **change}, batch_size=2, seed=0)


def black(**changes):
    """A black picture of 80 x 60 with a grey rectangle in its one box."""
    image = np.zeros((60, 80, 3), np.uint8)
    image[10:40, 20:60] = 90
    boxes = HorizontalBoxes(torch.tensor([[20.0, 10.0, 60.0, 40.0]]))
    labels = {"gt_bboxes_labels": np.array([1]), "gt_ignore_flags": np.zeros(1, bool)}
    return {"img": image, "img_shape": (60, 80), "ori_shape": (60, 80), "gt_bboxes": boxes, **labels, **changes}


def made(progress=0.5, **settings):
    """What the settings do to pictures, built."""
    sizing = {"type": "Resize", "scale": (80, 60), "keep_ratio": True}
    transform = build(pictures({**INPUT, "scale": (80, 60), **settings}, sizing)).transforms[0]
    transform.progress, transform.another = progress, black
    return transform


def test_without_augmentations_a_picture_is_given_its_size_alone():
    sizing = {"type": "Resize", "scale": (64, 64)}
    assert pictures(dict(INPUT), sizing) is sizing
    assert pictures({**INPUT, "mosaic": 0.0}, sizing) is sizing


def test_colour_changes_pixels_and_no_boxes_to_the_end_of_the_training():
    np.random.seed(0)
    found = [made(0.99, color=1.0)(black()) for _ in range(4)]
    assert all(picture["gt_bboxes"].tensor.tolist() == [[20, 10, 60, 40]] for picture in found)
    assert len({picture["img"][20, 30].tobytes() for picture in found}) > 1


@pytest.mark.parametrize("name", ["mosaic", "mixup"])
def test_mosaics_and_mixtures_end_where_a_tenth_of_the_training_is_left(name):
    np.random.seed(0)
    counts = {p: max(len(made(p, **{name: 1.0})(black())["gt_bboxes"]) for _ in range(8)) for p in (0.0, 0.89, 0.9)}
    assert counts[0.0] > 1
    assert counts[0.89] > 1
    assert counts[0.9] == 1
    assert len(made(0.6, **{name: 1.0, "plain_from": 0.5})(black())["gt_bboxes"]) == 1


def test_sizes_are_chosen_after_it_as_without():
    np.random.seed(0)
    settings = {**INPUT, "scale": (128, 100), "mosaic": 1.0}
    transform = build(pictures(settings, detr((128, 100)))).transforms[0]
    transform.another = black
    sizes = {transform(black())["img"].shape[:2] for _ in range(12)}
    assert len(sizes) > 3
    assert all(min(size) <= 100 and max(size) <= 128 for size in sizes)


def test_deims_augmentation_takes_no_other():
    with pytest.raises(ValueError, match=r"input\.mixup: 'dense' of input\.augmentation has its own"):
        pictures({**INPUT, "mixup": 0.5}, dense((64, 64)))


def test_augmentations_by_name_set_keys_and_what_is_given_comes_on_top(source):
    config = compose("fcos_tiny", None, source, augment=["mosaic", "rare"], changes={"input.mosaic": 0.25})
    assert (config["input"]["mosaic"], config["input"]["repeat_rare"], config["input"]["color"]) == (0.25, 0.1, None)
    everything = compose("fcos_tiny", None, source, augment=list(fragments.names("augmentations")))["input"]
    assert all(everything[name] for name in (*PICTURES, "repeat_rare"))
    with pytest.raises(ValueError, match="unknown augmentation 'mosiac'; did you mean 'mosaic'"):
        compose("fcos_tiny", None, source, augment=["mosiac"])
    with pytest.raises(ValueError, match=r"input\.color is 2; expected a number from 0 to 1 or None"):
        compose("fcos_tiny", None, source, changes={"input.color": 2})

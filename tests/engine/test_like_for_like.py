"""What one seed gives every assigner alike: initial weights, the order of images, and what augmentation makes of them."""

import pytest
import torch

from detassign.data import make_dataset, resolve
from detassign.engine import build
from detassign.engine.build import build_model
from detassign.engine.config import compose
from detassign.engine.train import _seeded_model, train

QUERY = {"input.scale": (64, 64)}
DENSE = {**QUERY, "model.head.stacked_convs": 1}
TOWERS = {
    "plain": {},
    "tood": {"model.head.task_aligned": {}},
    "refined": {"model.head.refinement": {}, "model.head.dcn_on_last_conv": True},
}
# With and without a second branch, objectness, a background column, a distribution, a second head, parameters of its own.
DENSE_ASSIGNERS = ("fcos", "atss", "dw", "poto", "gfl", "yolov10", "autoassign", "simota", "dw(score=softmax)")
OWN = ("conv_centerness.bias", "cls_prob_module.2.bias")  # starts where few samples are, or where half of them are
QUERY_ASSIGNERS = ("hungarian", "atss", "dw", "autoassign", "detr")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "shapes"
    make_dataset(folder, images=10, size=64)
    return resolve(folder)


@pytest.fixture
def start(monkeypatch):
    """Gives the weights that a run of a config starts from."""
    monkeypatch.setattr(build, "check_fit", lambda model: None)  # which takes most of the time
    return lambda config: _seeded_model({**config, "device": "cpu"}, initialise=True).state_dict()


def check_alike(starts):
    """All starts equal the first where they have the same tensors; returns the names that all have."""
    first = starts[0]
    for other in starts[1:]:
        shared = [name for name in first.keys() & other.keys() if first[name].shape == other[name].shape]
        unlike = [name for name in shared if not name.endswith(OWN) and not torch.equal(first[name], other[name])]
        assert unlike == []
    return set.intersection(*(set(one) for one in starts))


@pytest.mark.parametrize("towers", TOWERS)
def test_a_dense_detector_starts_from_the_same_weights_under_every_assigner(towers, source, start):
    changes = {**DENSE, **TOWERS[towers]}
    alike = check_alike([start(compose("fcos_tiny", name, source, changes=changes)) for name in DENSE_ASSIGNERS])
    assert {"backbone.conv1.weight", "neck.lateral_convs.0.conv.weight"} <= alike
    tower = "bbox_head.task_aligned.inter_convs.0" if towers == "tood" else "bbox_head.cls_convs.0"
    assert any(name.startswith(tower) for name in alike)


@pytest.mark.parametrize("detector", ["dino_r18_tiny", "detr_tiny", "deformable_detr_two_stage_tiny"])
def test_a_query_detector_starts_from_the_same_weights_under_every_assigner(detector, source, start):
    starts = [start(compose(detector, name, source, changes=QUERY)) for name in QUERY_ASSIGNERS]
    alike = check_alike(starts)
    assert any(name.startswith("decoder.") for name in alike)
    assert any(name.startswith("bbox_head.boxes.") for name in alike)


def test_models_made_one_after_the_other_differ(source, monkeypatch):
    """A second model of the same stream of random numbers is no copy of the first."""
    monkeypatch.setattr(build, "check_fit", lambda model: None)
    config = compose("fcos_tiny", "fcos", source, changes=DENSE)
    torch.manual_seed(0)
    one, other = build_model(config).state_dict(), build_model(config).state_dict()
    for name in ("backbone.conv1.weight", "bbox_head.conv_reg.weight", "bbox_head.cls_convs.0.conv.weight"):
        assert not torch.equal(one[name], other[name])


def batches(config, folder, monkeypatch):
    """The pixels and boxes of every training batch."""
    from mmdet.models import BaseDetector

    seen, usual = [], BaseDetector.forward

    def forward(model, inputs, data_samples=None, mode="tensor"):
        if mode == "loss":
            boxes = [sample.gt_instances.bboxes for sample in data_samples]
            seen.append((inputs.clone(), [getattr(each, "tensor", each).clone() for each in boxes]))
        return usual(model, inputs, data_samples, mode)

    with monkeypatch.context() as patched:
        patched.setattr(BaseDetector, "forward", forward)
        train(config, folder, quiet=True)
    return seen[1:]  # the first is that which shows whether the parts fit


@pytest.mark.parametrize(
    ("detector", "assigners", "augmentation"),
    [
        ("fcos_tiny", ("fcos", "paa"), "detr"),
        ("fcos_tiny", ("dw", "autoassign"), "dense"),
        ("dino_r18_tiny", ("hungarian", "dw"), None),
    ],
)
def test_images_come_in_the_same_order_and_augmented_alike(
    detector, assigners, augmentation, source, tmp_path, monkeypatch
):
    changes = {**QUERY, "input.augmentation": augmentation, "evaluation.every": 9, "input.workers": 0}
    courses = []
    for name in assigners:
        config = compose(detector, name, source, changes=changes, epochs=2, batch_size=2, device="cpu")
        courses.append(batches(config, tmp_path / name, monkeypatch))
    assert len(courses[0]) == 2 * (9 // 2)
    assert not torch.equal(courses[0][0][0], courses[0][1][0])
    for course in courses[1:]:
        for (images, boxes), (others, other_boxes) in zip(courses[0], course, strict=True):
            assert torch.equal(images, others)
            assert all(map(torch.equal, boxes, other_boxes))

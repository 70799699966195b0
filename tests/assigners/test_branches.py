import math

import pytest
import torch
from support.small import one_image, pyramid

from detassign.assigners import BRANCHES, Assigner, Assignment, Matches, build, focal

TARGETS = one_image((0, 0, 16, 8, 0))
BOXES = torch.tensor([[[0.0, 0.0, 8.0, 8.0], [8.0, 0.0, 16.0, 8.0], [0.0, 0.0, 16.0, 8.0]]])
LOGITS = torch.tensor([[math.log(3), 0.0, -math.log(3)]])  # 0.75, 0.5, 0.25


def loss_of(branch, samples=(0, 2), ignored=None, logits=LOGITS, spared=None):
    predictions = pyramid((1, 3, 8), boxes=BOXES, objectness=logits)
    zeros = torch.zeros(len(samples), dtype=torch.long)
    matches = Matches(zeros, torch.tensor(samples, dtype=torch.long), zeros, torch.ones(len(samples)), ignored, spared)
    pairs, samples = torch.ones(len(samples)), torch.zeros(1, 3, 3)
    return branch(predictions, TARGETS, Assignment(matches, pairs, samples, pairs, torch.ones(3)))


def test_the_iou_branch_learns_the_iou_of_the_matched_boxes():
    at_half, at_one = math.log(0.75) / 2 + math.log(0.25) / 2, math.log(0.25)
    assert loss_of(BRANCHES.build("iou")).item() == pytest.approx(-0.5 * (at_half + at_one) / 2, rel=1e-5)
    whole = loss_of(BRANCHES.build({"type": "iou", "weight": 1.0}))
    assert whole.item() == pytest.approx(-(at_half + at_one) / 2, rel=1e-5)


def test_the_foreground_branch_learns_of_every_sample_whether_it_is_matched():
    logs = math.log(0.75) + math.log(0.5) + math.log(0.25)
    assert loss_of(BRANCHES.build("foreground")).item() == pytest.approx(-logs / 2, rel=1e-5)
    ignoring = torch.tensor([[False, True, False]])
    logs = math.log(0.75) + math.log(0.25)
    assert loss_of(BRANCHES.build("foreground"), ignored=ignoring).item() == pytest.approx(-logs / 2, rel=1e-5)


def test_the_foreground_branch_leaves_samples_without_a_pair_alone_where_a_class_is_spared():
    logs = math.log(0.75) + math.log(0.25)
    spared = torch.tensor([[0, 0], [0, 1], [1, 2]])  # a class of a matched sample, and of one that is not
    assert loss_of(BRANCHES.build("foreground"), spared=spared).item() == pytest.approx(-logs / 2, rel=1e-5)


def test_the_foreground_branch_is_divided_by_the_number_of_images_at_least_or_as_in_yolox():
    predictions = pyramid((1, 3, 8), images=2, boxes=BOXES.expand(2, -1, -1), objectness=LOGITS.expand(2, -1))
    nothing = torch.zeros(0, dtype=torch.long)
    matches = Matches(nothing, nothing, nothing, torch.ones(0))
    empty = Assignment(matches, torch.ones(0), torch.zeros(2, 3, 3), torch.ones(0), torch.ones(3))
    one_images = -math.log(0.25) - math.log(0.5) - math.log(0.75)
    assert BRANCHES.build("foreground")(predictions, TARGETS, empty).item() == pytest.approx(one_images, rel=1e-5)
    yolox = BRANCHES.build({"type": "foreground", "least_per_image": 0})
    assert yolox(predictions, TARGETS, empty).item() == pytest.approx(2 * one_images, rel=1e-5)


@pytest.mark.parametrize("name", list(BRANCHES))
def test_without_a_pair_the_branch_stays_in_the_graph(name):
    logits = LOGITS.clone().requires_grad_()
    loss = loss_of(BRANCHES.build(name), samples=(), logits=logits)
    loss.backward()
    assert loss.isfinite()
    assert logits.grad is not None


@pytest.mark.parametrize("name", list(BRANCHES))
def test_an_assigner_trains_its_branch_where_the_head_has_one(name):
    assigner = Assigner("center_sampling", focal(), branch=name)
    entry = f"loss_{assigner.branch.name}"
    assert entry in assigner.loss(pyramid((1, 3, 8), boxes=BOXES, objectness=LOGITS), TARGETS)
    if "objectness" in assigner.needs:
        with pytest.raises(ValueError, match="predictions: this assigner needs objectness"):
            assigner.loss(pyramid((1, 3, 8), boxes=BOXES, objectness=None), TARGETS)
    else:
        assert entry not in assigner.loss(pyramid((1, 3, 8), boxes=BOXES, objectness=None), TARGETS)


def test_a_weighting_brings_the_branch_that_it_counts_on_unless_told_otherwise():
    assert build("fcos", 3).branch.name == "centerness"
    assert Assigner("center_sampling", focal(box_weight="centerness", least_side=0.25)).branch.least_side == 0.25
    assert build("max_iou", 3).branch is None
    assert build("atss+iou_bce", 3).branch.name == "objectness"
    assert Assigner("center_sampling", focal(box_weight="centerness"), branch=None).branch is None

import math

import pytest
import torch
from support.small import one_image, pyramid

from detassign.assigners import BRANCHES, Assigner, Assignment, Matches, build, focal

TARGETS = one_image((0, 0, 16, 8, 0))
BOXES = torch.tensor([[[0.0, 0.0, 8.0, 8.0], [8.0, 0.0, 16.0, 8.0], [0.0, 0.0, 16.0, 8.0]]])
LOGITS = torch.tensor([[math.log(3), 0.0, -math.log(3)]])  # 0.75, 0.5, 0.25


def loss_of(branch, samples=(0, 2), ignored=None, logits=LOGITS):
    predictions = pyramid((1, 3, 8), boxes=BOXES, objectness=logits)
    zeros = torch.zeros(len(samples), dtype=torch.long)
    matches = Matches(zeros, torch.tensor(samples, dtype=torch.long), zeros, torch.ones(len(samples)), ignored)
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


def test_boxes_weighted_by_centerness_bring_its_branch_unless_told_otherwise():
    assert build("fcos", 3).branch.name == "centerness"
    assert build("max_iou", 3).branch is None
    assert Assigner("center_sampling", focal(box_weight="centerness"), branch=None).branch is None

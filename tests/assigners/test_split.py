from dataclasses import replace

import pytest
import torch

from detassign.assigners import Assigner, IoUBranch, Matches, Split, build, focal
from detassign.assigners.laws.batches import pair_table, random_batch


class These:
    """A matching of given (image, sample, target)."""

    cardinality = "one-to-many"
    needs = frozenset()

    def __init__(self, *pairs):
        self.pairs = pairs

    def __call__(self, predictions, targets):
        image, sample, target = torch.tensor(self.pairs, dtype=torch.long).reshape(-1, 3).unbind(1)
        return Matches(image, sample, target, torch.ones(len(image)))


def split(classes, boxes):
    return Split(
        Assigner(These(*classes), focal(), branch=None),
        Assigner(These(*boxes), focal(box_scale=3.0), branch=IoUBranch(1.0)),
    )


class Sparing(These):
    """The same, with one spared entry of the first image."""

    def __call__(self, predictions, targets):
        return replace(super().__call__(predictions, targets), spared=torch.tensor([[0], [3], [1]]))


CLASSES, BOXES = [(0, 1, 0), (0, 2, 1), (1, 5, 0)], [(1, 5, 0), (0, 7, 0), (0, 2, 1), (1, 6, 1)]


def test_classes_follow_one_assigner_and_boxes_the_other():
    assigner = split(CLASSES, BOXES)
    predictions, targets = random_batch(assigner)
    losses = assigner.loss(predictions, targets)
    first, second = (each.loss(predictions, targets) for each in assigner.assigners)
    assert losses["loss_cls_pos"] == first["loss_cls_pos"]
    assert losses["loss_cls_neg"] == first["loss_cls_neg"]
    assert losses["loss_box"] == second["loss_box"] != first["loss_box"]
    assert losses["loss_iou"] == second["loss_iou"]
    assert list(losses) == ["loss_cls_pos", "loss_cls_neg", "loss_box", "loss_iou"]


@pytest.mark.parametrize(
    ("classes", "boxes"), [(CLASSES, BOXES), (CLASSES, []), ([], BOXES), ([], []), (CLASSES, CLASSES)], ids=str
)
def test_the_assignment_has_the_pairs_of_both_each_once(classes, boxes):
    assigner = split(classes, boxes)
    predictions, targets = random_batch(assigner)
    joined = assigner(predictions, targets)
    matches = assigner.match(predictions, targets)
    found = list(zip(matches.image.tolist(), matches.sample.tolist(), matches.target.tolist(), strict=True))
    assert sorted(found) == sorted({*classes, *boxes})
    table = pair_table(joined, predictions.logits.shape[1], targets)
    one, other = (pair_table(a(predictions, targets), len(table[0]), targets) for a in assigner.assigners)
    assert torch.equal(table[..., 1], one[..., 1])
    assert torch.equal(table[..., 2], other[..., 2])
    assert joined.normalizers.tolist() == [max(len(classes), 1)] * 2 + [max(len(boxes), 1)]


def test_a_head_asks_for_what_either_needs_and_for_the_boxes_branch():
    assigner = build("ddod", 3)
    assert assigner.needs >= {"points", "strides", "level_sizes"}
    assert assigner.branch is assigner.assigners[1].branch
    predictions, _ = random_batch(assigner)
    scores, factor = assigner.inference_scores(predictions)
    torch.testing.assert_close(scores, predictions.logits.sigmoid())
    torch.testing.assert_close(factor, predictions.objectness.sigmoid())


def test_another_branch_replaces_the_boxes():
    assigner = split(CLASSES, BOXES)
    assigner.branch = None
    assert "loss_iou" not in assigner.loss(*random_batch(assigner))


def test_different_score_models_are_refused():
    with pytest.raises(ValueError, match="score: expected one for classes and boxes, got Sigmoid, Softmax"):
        Split(build("atss", 3), build("atss+focal+softmax", 3))


def test_ddod_remembers_the_positives_of_levels_in_its_state():
    assigner, other = build("ddod", 3), build("ddod", 3)
    assigner(*random_batch(assigner, seed=1))
    other.load_state_dict(assigner.state_dict())
    first, second = (each.assigners[0].weighting.counts for each in (assigner, other))
    assert first is assigner.assigners[1].weighting.counts
    assert torch.equal(first.totals, second.totals)


def test_what_the_matching_of_the_classes_spares_stays_spared():
    assigner = split(CLASSES, BOXES)
    assigner.assigners[0].matching = Sparing(*CLASSES)
    predictions, targets = random_batch(assigner)
    assignment = assigner(predictions, targets)
    assert assignment.matches.spared.tolist() == [[0], [3], [1]]
    assert assignment.negative[0, 3, 1] == 0

from dataclasses import replace

import pytest
import torch
from support.random_batches import random_batch
from support.small import one_image, pyramid

from detassign.assigners import Assigner, Bag, CenterPrior, Matches, build, mean_max_bag
from detassign.assigners.weighting.bag import log_complement, log_ratio

HALF = torch.tensor(0.5)


class Spare:
    """A discount that says what it is told: sample, target and h of every spared pair."""

    def __init__(self, *spared):
        self.spared = torch.tensor(spared, dtype=torch.float32).reshape(-1, 3)

    def __call__(self, predictions, targets, matches):
        sample, target = self.spared[:, 0].long(), self.spared[:, 1].long()
        return Matches(torch.zeros_like(sample), sample, target, self.spared[:, 2])


def weighted(bag, predictions, targets, *pairs):
    sample, target = (torch.tensor(column) for column in zip(*pairs, strict=True))
    matches = Matches(torch.zeros_like(sample), sample, target, torch.ones(len(sample)))
    assigner = Assigner(CenterPrior(3), bag)
    return assigner.assign_and_loss(predictions, targets, matches)


def test_the_loss_of_a_bag_is_that_of_the_mean_of_its_likelihoods():
    predictions, targets = pyramid((2, 2, 8)), one_image((0, 0, 8, 8, 1))  # P = 1/2 everywhere; GIoU 1 and 0
    predictions.boxes[0, 1] = torch.tensor([8.0, 0.0, 16.0, 8.0])
    bag = Bag({"type": "exponential", "temperature": 0.0}, center_scale=0, positive_scale=2.0)
    assignment, losses = weighted(bag, predictions, targets, (0, 0), (1, 0))
    likelihood = torch.tensor([0.5, 0.5 * torch.exp(torch.tensor(-5.0))])
    torch.testing.assert_close(losses["loss_bag"], -2 * likelihood.mean().log())
    torch.testing.assert_close(assignment.positive, 2 * likelihood / likelihood.sum())
    torch.testing.assert_close(assignment.box, 10 * likelihood / likelihood.sum())
    assert "loss_cls_pos" not in losses
    assert "loss_box" not in losses


def test_negatives_multiply_the_discount_into_the_probability():
    bag = Bag(discount=Spare((0, 0, 0.75)), negative_scale=1.0)
    targets = one_image((0, 0, 8, 8, 1))
    assignment, losses = weighted(bag, pyramid((1, 1, 8)), targets, (0, 0))
    x = HALF / 4
    wanted = 2 * HALF**2 * -HALF.log() - x**2 * torch.log1p(-x)
    torch.testing.assert_close(losses["loss_cls_neg"] * assignment.normalizers[1], wanted)


@pytest.mark.parametrize(("conflict", "kept"), [("min", 0.25), ("max", 0.75), ("mean", 0.5), ("last", 0.75)])
def test_one_class_that_two_objects_claim_has_one_weight(conflict, kept):
    bag = Bag(discount=Spare((0, 0, 0.75), (0, 1, 0.25)), negative_scale=1.0, conflict=conflict)
    targets = one_image((0, 0, 8, 8, 1), (0, 0, 9, 9, 1))
    assignment, losses = weighted(bag, pyramid((1, 1, 8)), targets, (0, 0), (0, 1))
    x = HALF * kept
    wanted = 2 * HALF**2 * -HALF.log() - x**2 * torch.log1p(-x)
    torch.testing.assert_close(losses["loss_cls_neg"] * assignment.normalizers[1], wanted)


def test_the_log_of_what_is_left_is_exact_at_both_ends():
    log_present = torch.tensor([-20.0, -1e-6], dtype=torch.float64)
    log_absent = torch.log(-torch.expm1(log_present))
    weight = torch.tensor([0.3, 1.0], dtype=torch.float64)
    single = [value.float() for value in (weight, log_present, weight * log_present.exp(), log_absent)]
    exact = torch.stack([torch.log1p(-0.3 * log_present[0].exp()), log_absent[1]])
    torch.testing.assert_close(log_complement(*single).double(), exact, rtol=1e-6, atol=0)


def test_the_ratio_of_logs_is_the_weight_where_nothing_is_predicted():
    zero, weight = torch.zeros(1), torch.tensor([0.3])
    assert log_ratio(zero, zero, weight) == weight
    assert log_ratio(zero, torch.tensor([torch.nan]), weight) == 0
    assert log_ratio(torch.tensor([-torch.inf]), torch.tensor([-torch.inf]), weight) == 0


def test_the_centre_term_is_objects_by_the_sum_of_their_scores_mean_over_images():
    targets = one_image((0, 0, 16, 16, 1))
    _, losses = weighted(Bag(center_scale=1.0), pyramid((2, 2, 8)), targets, (0, 0), (1, 0), (2, 0), (3, 0))
    assert losses["loss_center"] == 0.25


def test_the_centre_term_stays_bounded_where_a_prior_misses_its_objects():
    predictions, targets = pyramid((2, 2, 8)), one_image((100, 100, 101, 101, 1))
    ours, original = (build(name, 3) for name in ("autoassign", "autoassign_original"))
    original.matching.guarantee = 9
    assert ours.loss(predictions, targets)["loss_center"] <= 0.75 / 0.1 + 1e-4
    assert original.loss(predictions, targets)["loss_center"] > 1e6


def test_an_object_without_pairs_costs_nothing_and_the_originals_hundred_on_demand():
    targets = one_image((0, 0, 8, 8, 1), (50, 50, 51, 51, 0))
    losses = [weighted(Bag(missing=m), pyramid((1, 1, 8)), targets, (0, 0))[1]["loss_bag"] for m in (0.0, 100.0)]
    torch.testing.assert_close(losses[1] - losses[0], torch.tensor(0.25 * 100 / 2))


def test_autoassign_learns_an_object_between_the_points_from_the_nearest():
    predictions, targets = pyramid((4, 4, 8)), one_image((7, 7, 9, 9, 1))  # the corner of four cells
    ours, original = (build(name, 3)(predictions, targets) for name in ("autoassign", "autoassign_original"))
    assert len(ours.matches.sample) == 9
    assert {0, 1, 4, 5} <= set(ours.matches.sample.tolist())
    assert not len(original.matches.sample)
    assert original.bag[0, 0] == 25


def test_the_order_of_objects_matters_in_the_original_alone():
    predictions, targets = random_batch(build("autoassign", 3), 0, (4, 4))
    overlapping = replace(targets, boxes=targets.boxes[:, :1] + torch.arange(5.0)[:, None], labels=targets.labels * 0)
    turned = replace(overlapping, **{n: getattr(overlapping, n).flip(1) for n in ("boxes", "labels", "mask")})
    for name, changes in (("autoassign", False), ("autoassign_original", True)):
        loss = [build(name, 3).loss(predictions, given)["loss_cls_neg"] for given in (overlapping, turned)]
        assert torch.allclose(*loss) is not changes


def test_a_batch_without_objects_weighs_as_one_bag_and_in_the_original_fifty_times():
    predictions, targets = random_batch(build("free_anchor", 3), 0, (0, 0))
    ours, original = (
        build(n, 3).loss(predictions, targets)["loss_cls_neg"] for n in ("free_anchor", "free_anchor_original")
    )
    torch.testing.assert_close(original, 50 * ours)


@pytest.mark.parametrize("bag", [Bag(), mean_max_bag()], ids=["bag", "mean_max_bag"])
def test_shares_of_an_object_add_up_to_one(bag):
    assigner = Assigner(CenterPrior(3), bag)
    assignment = assigner(*random_batch(assigner, 1, (4, 4)))
    group = assignment.matches.flat_target(random_batch(assigner, 1, (4, 4))[1])
    total = torch.zeros(10).index_add(0, group, assignment.details["share"])
    torch.testing.assert_close(total[total > 0], torch.ones(int((total > 0).sum())))


@pytest.mark.parametrize(
    ("arguments", "named"), [({"conflict": "first"}, "conflict"), ({"negatives_by": "x"}, "negatives_by")]
)
def test_unknown_choices_are_refused(arguments, named):
    with pytest.raises(ValueError, match=named):
        Bag(**arguments)

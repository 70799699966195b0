"""Dual weighting on paper: the table of golden values in full, each option by a number, each refusal by its sentence."""

import math
from dataclasses import dataclass, replace

import pytest
import torch
from support.random_batches import random_batch
from support.small import one_image, pyramid

from detassign.assigners import Assigner, CenterPrior, Dual, ExpGIoU, Matches, PowerIoU, PredictedIoU, Sigmoid, build
from detassign.assigners.boxes import boxes_from_distances
from detassign.assigners.weighting import dual_paper

A, B = (2, 3, 20, 25), (10, 8, 30, 30)


def published_predictions():
    """Strides 8 and 16, maps of 4 x 4 and 2 x 2: logits sin 0.37k, objectness cos 0.53k, distances 9 + 6 sin 0.91k."""
    plain = pyramid((4, 4, 8), (2, 2, 16))
    logits = torch.sin(0.37 * torch.arange(60.0)).view(1, 20, 3).requires_grad_()
    objectness = torch.cos(0.53 * torch.arange(20.0)).view(1, 20).requires_grad_()
    distances = (9 + 6 * torch.sin(0.91 * torch.arange(80.0))).view(1, 20, 4).requires_grad_()
    boxes = boxes_from_distances(plain.points, distances)
    return replace(plain, logits=logits, boxes=boxes, objectness=objectness), (logits, objectness, distances)


@dataclass
class Row:
    """One row of the published table."""

    targets: tuple
    inside: list
    prior: float
    iou: list
    raw: tuple
    share: float
    normalised: tuple
    gradient: tuple


ROWS = {
    "two classes": Row(
        targets=((*A, 0), (*B, 2)),
        inside=[8, 10],
        prior=12.106786,
        iou=[0.644796, 0.510285],
        raw=(0.784802, 1.523256, 2.572607),
        share=2.0,
        normalised=(0.392401, 0.761628, 1.286303),
        gradient=(0.316338, 0.499450, 0.029914),
    ),
    "one class": Row(
        targets=((*A, 1), (*B, 1)),
        inside=[8, 10],
        prior=12.106786,
        iou=[0.644796, 0.510285],
        raw=(0.796929, 1.537074, 2.569201),
        share=1.0,
        normalised=(0.398465, 0.768537, 2.569201),
        gradient=(0.630409, 1.002375, 0.027298),
    ),
    "one class, swapped": Row(
        targets=((*B, 1), (*A, 1)),
        inside=[10, 8],
        prior=12.106786,
        iou=[0.510285, 0.644796],
        raw=(0.796929, 1.537074, 2.564828),
        share=2.0,
        normalised=(0.398465, 0.768537, 1.282414),
        gradient=(0.317015, 0.498460, 0.027298),
    ),
    "too small for a point": Row(
        targets=((13, 13, 15, 15, 0),),
        inside=[0],
        prior=0.0,
        iou=[0.0],
        raw=(0.0, 0.0, 2.592584),
        share=0.0,
        normalised=(0.0, 0.0, 2.592584),
        gradient=(0.634776, 1.012880, 0.0),
    ),
    "no target": Row(
        targets=(),
        inside=[],
        prior=0.0,
        iou=[],
        raw=(0.0, 0.0, 2.592584),
        share=0.0,
        normalised=(0.0, 0.0, 2.592584),
        gradient=(0.634776, 1.012880, 0.0),
    ),
}

TERMS = ("loss_cls_pos", "loss_box", "loss_cls_neg")


def original(space="probability"):
    assigner = build("dw_original", num_classes=3)
    assigner.score.space = space
    return assigner


def best_overlaps(assignment, targets):
    """The largest IoU inside each target, 0 where no point is inside."""
    best = torch.zeros(targets.mask.shape[1])
    return best.scatter_reduce(0, assignment.matches.target, assignment.details["iou"], "amax").tolist()


@pytest.mark.parametrize("space", ["probability", "log"])
@pytest.mark.parametrize("name", ROWS)
def test_the_published_table_is_reproduced(name, space):
    row, (predictions, inputs) = ROWS[name], published_predictions()
    targets = one_image(*row.targets)
    assignment, losses = original(space).assign_and_loss(predictions, targets)
    sum(losses.values()).backward()

    values = [losses[term] for term in TERMS]
    raw = [value * assignment.normalizers[i] for value, i in zip(values, (0, 2, 1), strict=True)]
    assert assignment.pairs_per_target(targets)[0].tolist() == row.inside
    assert assignment.matches.score.sum().item() == pytest.approx(row.prior, abs=2e-6)
    assert best_overlaps(assignment, targets) == pytest.approx(row.iou, abs=1e-6)
    assert [value.item() for value in raw] == pytest.approx(row.raw, abs=2e-6)
    assert (1 - assignment.details["negative_share"]).sum().item() == pytest.approx(row.share, abs=1e-6)
    assert [value.item() for value in values] == pytest.approx(row.normalised, abs=2e-6)
    assert [tensor.grad.norm().item() for tensor in inputs] == pytest.approx(row.gradient, abs=2e-6)


@pytest.mark.parametrize(("name", "sums"), [("two classes", (1.03552, 1.02201)), ("one class", (1.02944, 1.02285))])
def test_the_positive_weights_of_a_target_add_up_to_more_than_one(name, sums):
    targets = one_image(*ROWS[name].targets)
    assignment = original()(published_predictions()[0], targets)
    total = torch.zeros(2).index_add(0, assignment.matches.target, assignment.details["weight"])
    assert total.tolist() == pytest.approx(sums, abs=1e-5)


@pytest.mark.parametrize("name", ["one class", "one class, swapped"])
def test_the_minimum_has_one_value_for_both_orders(name):
    predictions, _ = published_predictions()
    assignment, losses = build("dw", num_classes=3).assign_and_loss(predictions, one_image(*ROWS[name].targets))
    negative, share = losses["loss_cls_neg"] * assignment.normalizers[1], assignment.normalizers[1]
    assert negative.item() == pytest.approx(2.564827, abs=2e-6)
    assert share.item() == pytest.approx(2.0, abs=1e-6)


# Hand-made pairs: sample 0 with targets 0 and 1 of class 1, sample 1 with target 0. Predicted IoUs 0.8, 0.6 and 0.7.
TARGETS = one_image((0, 0, 10, 8, 1), (0, 0, 10, 6, 1))
BOXES = torch.tensor([[[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 8 / 0.7]]])
MATCHES = Matches(
    torch.zeros(3, dtype=torch.long), torch.tensor([0, 0, 1]), torch.tensor([0, 1, 0]), torch.tensor([1.0, 1.0, 0.5])
)


def weigh(weighting, matches=MATCHES, **parts):
    predictions = pyramid((1, 2, 8), boxes=BOXES, **parts)
    return weighting(predictions, TARGETS, matches, Sigmoid()(predictions))


def falling(overlap, high=1.0, low=0.5):
    return (high**2 - overlap**2) / (high**2 - low**2)


def test_punishment_of_the_code_is_stretched_so_that_the_best_pair_has_none():
    """Target 0: 0.8 and 0.7 become 0 and 1; target 1 has one pair, which is punished in full."""
    assert weigh(Dual()).details["punishment"].tolist() == pytest.approx([0.0, 1.0, 1.0], abs=1e-6)


def test_punishment_of_the_paper_falls_between_fixed_ends():
    expected = [falling(overlap, high=0.95) for overlap in (0.8, 0.6, 0.7)]
    assert expected[0] == pytest.approx(-1.53257 * 0.64 + 1.38314, abs=1e-4)
    assert weigh(dual_paper()).details["punishment"].tolist() == pytest.approx(expected, abs=1e-5)
    above = weigh(Dual(iou_low=0.65, iou_high=0.75)).details["punishment"].tolist()
    assert above == pytest.approx([0.0, 1.0, falling(0.7, high=0.75, low=0.65)], abs=1e-5)


def test_the_exponent_of_the_iou_bends_the_fall():
    weighting = Dual(iou_exponent=1.0, iou_high=1.0)
    assert weigh(weighting).details["punishment"].tolist() == pytest.approx([0.4, 0.8, 0.6], abs=1e-5)


@pytest.mark.parametrize(("conflict", "share"), [("min", 0.4), ("max", 0.8), ("mean", 0.6), ("last", 0.8)])
def test_a_sample_and_class_that_two_targets_claim_has_one_punishment(conflict, share):
    assignment = weigh(Dual(iou_exponent=1.0, iou_high=1.0, conflict=conflict))
    expected = torch.ones(1, 2, 3)
    expected[0, 0, 1], expected[0, 1, 1] = share, 0.6
    torch.testing.assert_close(assignment.details["negative_share"], expected)
    torch.testing.assert_close(assignment.normalizers[1], torch.tensor(1.0))  # 0.2 … 1.0 altogether, floored
    torch.testing.assert_close(assignment.negative, expected * 0.25)  # P is a half everywhere


def test_gamma_is_the_focal_exponent_of_the_negative_weight():
    assert weigh(Dual(gamma=1.0)).negative[0, 0, 0] == 0.5
    assert weigh(Dual(gamma=0.0)).negative[0, 0, 0] == 1.0


def test_the_positive_weight_is_the_papers_formula():
    """t = 0.5 IoU; target 0 has pairs of t 0.4 (prior 1) and 0.35 (prior 0.5), target 1 one of t 0.3."""
    weighting = Dual(quality=PowerIoU(beta=1.0))
    assignment = weigh(weighting)
    below = math.exp(3 * 0.4) * 0.4 + math.exp(3 * 0.35) * 0.35 * 0.5
    expected = [math.exp(5 * 0.4) * 0.4 / below, math.exp(2 * 0.3), math.exp(5 * 0.35) * 0.35 * 0.5 / below]
    assert assignment.details["fit"].tolist() == pytest.approx([0.4, 0.3, 0.35], abs=1e-6)
    assert assignment.details["weight"].tolist() == pytest.approx(expected, rel=1e-5)


def test_equal_exponents_make_the_weights_of_a_target_add_up_to_one():
    assignment = weigh(dual_paper())
    assert (assignment.positive[0] + assignment.positive[2]).item() == pytest.approx(1.0)
    assert assignment.positive[1].item() == pytest.approx(1.0)


def test_each_term_has_a_scale_of_its_own():
    plain = weigh(Dual())
    assert torch.equal(plain.positive, 0.25 * plain.details["weight"])
    assert torch.equal(plain.box, 1.25 * plain.details["weight"])
    for name, field in (("positive_scale", "positive"), ("negative_scale", "negative"), ("box_scale", "box")):
        once, thrice = (weigh(Dual(**{name: scale})) for scale in (1.0, 3.0))
        for other in ("positive", "negative", "box"):
            factor = 3 if other == field else 1
            torch.testing.assert_close(getattr(thrice, other), factor * getattr(once, other))
        assert torch.equal(once.normalizers, thrice.normalizers)


@pytest.mark.parametrize(
    ("quality", "kind"),
    [
        ("exp_giou", ExpGIoU),
        ("power_iou", PowerIoU),
        ({"type": "power_iou", "beta": 2.0}, PowerIoU),
        ("predicted_iou", PredictedIoU),
    ],
)
def test_the_localisation_quality_is_a_part_of_its_own(quality, kind):
    weighting = Dual(quality=quality)
    assert isinstance(weighting.quality, kind)
    predictions = pyramid((1, 2, 8), boxes=BOXES)
    expected = 0.5 * weighting.quality(predictions, TARGETS, MATCHES)
    torch.testing.assert_close(weigh(weighting).details["fit"], expected)


def test_a_quality_may_be_any_function():
    assignment = weigh(Dual(quality=lambda predictions, targets, matches: torch.full((3,), 0.5)))
    assert assignment.details["fit"].tolist() == [0.25] * 3


def test_a_quality_that_needs_objectness_makes_the_weighting_need_it():
    assert Dual(quality="predicted_iou").needs == {"objectness"}
    assert Dual().needs == frozenset()


def test_an_ignored_sample_is_not_pushed_down_and_still_pulled_up():
    assignment = weigh(Dual(), replace(MATCHES, ignored=torch.tensor([[True, False]])))
    assert assignment.negative[0, 0].count_nonzero() == 0
    assert assignment.positive[0] > 0


def test_targets_without_a_point_count_in_the_normalizer():
    predictions = pyramid((2, 2, 8))
    targets = one_image((0, 0, 16, 16, 0), (6, 6, 10, 10, 0), (40, 40, 50, 50, 1))
    assignment = build("dw", num_classes=3)(predictions, targets)
    assert assignment.pairs_per_target(targets).tolist() == [[4.0, 0.0, 0.0]]
    assert assignment.normalizers[[0, 2]].tolist() == [3.0, 3.0]


def test_weights_and_punishments_carry_no_gradient_but_the_focal_factor_does():
    assigner = Assigner(CenterPrior(3), Dual(), "sigmoid_objectness")
    predictions, targets = random_batch(assigner)
    predictions.logits.requires_grad_()
    predictions.boxes.requires_grad_()
    assignment = assigner(predictions, targets)
    assert not assignment.positive.requires_grad
    assert not assignment.box.requires_grad
    assert assignment.negative.requires_grad
    assert not assignment.details["negative_share"].requires_grad


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"conflict": "first"}, "conflict: expected min, max, mean or last, got 'first'"),
        ({"iou_high": 0.4}, "iou_low and iou_high: expected 0 <= iou_low < iou_high <= 1, got 0.5 and 0.4"),
        ({"iou_high": 1.1}, "iou_low and iou_high: expected 0 <= iou_low < iou_high <= 1, got 0.5 and 1.1"),
        ({"iou_low": 1.0, "iou_high": None}, "expected 0 <= iou_low < iou_high <= 1, got 1.0 and None"),
        ({"quality": "exp_gio"}, "unknown localisation quality 'exp_gio'; did you mean 'exp_giou'"),
    ],
)
@pytest.mark.parametrize("form", [Dual, dual_paper])
def test_senseless_arguments_are_refused(form, arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        form(**arguments)

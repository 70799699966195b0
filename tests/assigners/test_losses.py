import math
from dataclasses import replace

import pytest
import torch
from support.small import one_image, pyramid

from detassign.assigners import BOX_LOSSES, Assignment, Matches, Sigmoid, Softmax, Targets, assignment_losses
from detassign.assigners.losses import build_box_loss

MATCH = Matches(torch.tensor([0]), torch.tensor([2]), torch.tensor([0]), torch.ones(1))
TARGETS = one_image((0.0, 8.0, 8.0, 16.0, 1))


def assignment_of(predictions, classes=3, **parts):
    plain = {
        "positive": torch.tensor([2.0]),
        "negative": torch.zeros(1, predictions.logits.shape[1], classes),
        "box": torch.tensor([0.5]),
        "normalizers": torch.tensor([4.0, 2.0, 1.0]),
    }
    return Assignment(MATCH, **{**plain, **parts})


def test_the_three_terms_are_the_weighted_sums_over_their_normalizers():
    predictions = pyramid((2, 2, 8))
    negative = torch.zeros(1, 4, 3)
    negative[0, 0, 0], negative[0, 3, 2] = 1.0, 3.0
    losses = assignment_losses(
        predictions,
        TARGETS,
        Sigmoid()(predictions),
        assignment_of(predictions, negative=negative),
        lambda predicted, target: (predicted - target).abs().sum(-1) + 3,
    )
    assert {name: value.item() for name, value in losses.items()} == pytest.approx(
        {"loss_cls_pos": 2 * math.log(2) / 4, "loss_cls_neg": 4 * math.log(2) / 2, "loss_box": 0.5 * 3}
    )


def test_a_background_weight_joins_the_positive_term():
    predictions = pyramid((2, 2, 8), classes=4)  # three and the background
    weights = torch.tensor([[1.0, 0.0, 0.0, 2.0]])
    assignment = assignment_of(predictions, background=weights)
    losses = assignment_losses(predictions, TARGETS, Softmax()(predictions), assignment, BOX_LOSSES.build("giou"))
    assert losses["loss_cls_pos"].item() == pytest.approx((2 + 3) * math.log(4) / 4)


def test_a_weight_of_zero_silences_infinity_but_not_what_is_no_number():
    predictions = pyramid((2, 2, 8))
    assignment = assignment_of(predictions, box=torch.zeros(1))
    for value, outcome in ((torch.inf, 0.0), (torch.nan, torch.nan)):
        losses = assignment_losses(
            predictions, TARGETS, Sigmoid()(predictions), assignment, lambda p, t, value=value: p[:, 0] * 0 + value
        )
        torch.testing.assert_close(losses["loss_box"], torch.tensor(outcome), equal_nan=True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("giou", 1 - 1 / 3),
        ("diou", 1 - 1 / 3 + 1 / 13),
        ("ciou", 1 - 1 / 3 + 1 / 13),
        ("nwd", 1 - math.exp(-1 / 12.8)),
        ("nwd(form=sqrt)", 1.0),
        ("nwd(form=log)", math.log(2)),
        ("nwd(form=norm_sqrt)", 0.5),
        ("nwd(form=w2)", 1.0),
        ("iou_log", math.log(3)),
        ("iou_square", 8 / 9),
        ("l1", 2.0),
        ("relative_sides", 0.5),
    ],
)
def test_box_losses_are_these(name, value):
    loss = BOX_LOSSES.build(name)(torch.tensor([[0.0, 0.0, 2.0, 2.0]]), torch.tensor([[1.0, 0.0, 3.0, 2.0]]))
    assert loss.tolist() == pytest.approx([value])


@pytest.mark.parametrize("form", ["exp", "sqrt", "log", "norm_sqrt", "w2"])
def test_the_nwd_loss_of_boxes_apart_or_equal_has_a_finite_gradient(form):
    predicted = torch.tensor([[0.0, 0.0, 2.0, 2.0], [5.0, 0.0, 7.0, 2.0]], requires_grad=True)
    BOX_LOSSES.build("nwd", form=form)(predicted, torch.tensor([[5.0, 0.0, 7.0, 2.0]] * 2)).sum().backward()
    assert predicted.grad.isfinite().all()
    assert (predicted.grad[0, [0, 2]] < 0).all()  # to the right


def test_an_nwd_loss_of_unknown_form_or_without_constant_is_refused():
    with pytest.raises(ValueError, match="form: expected one of exp, sqrt, log, norm_sqrt, w2, got 'l2'"):
        BOX_LOSSES.build("nwd", form="l2")
    with pytest.raises(ValueError, match="constant: expected a positive number, got 0"):
        BOX_LOSSES.build("nwd", constant=0)


def test_log_iou_of_boxes_apart_is_finite():
    loss = BOX_LOSSES.build("iou_log")(torch.tensor([[0.0, 0.0, 2.0, 2.0]]), torch.tensor([[5.0, 0.0, 7.0, 2.0]]))
    assert loss.item() == pytest.approx(-math.log(1e-6), rel=1e-5)


def test_relative_box_losses_are_of_shares_of_the_image():
    predictions = pyramid((2, 2, 8))  # the third box is (0, 8) to (8, 16)
    targets = Targets.from_lists(
        [torch.tensor([[0.0, 8.0, 16.0, 16.0]])], [torch.tensor([1])], sizes=torch.tensor([[32.0, 16.0]])
    )
    losses = assignment_losses(
        predictions,
        targets,
        Sigmoid()(predictions),
        assignment_of(predictions),
        build_box_loss({"relative_l1": 5.0, "relative_giou": 2.0, "l1_pixels": {"type": "l1", "weight": 1}}),
    )
    assert list(losses) == ["loss_cls_pos", "loss_cls_neg", "loss_l1", "loss_giou", "loss_l1_pixels"]
    assert losses["loss_l1"].item() == pytest.approx(0.5 * 5 * (0.125 + 0.25))
    assert losses["loss_giou"].item() == pytest.approx(0.5 * 2 * (1 - 0.5))
    assert losses["loss_l1_pixels"].item() == pytest.approx(0.5 * 8)


def test_sides_are_compared_by_the_width_and_height_of_the_image():
    loss = BOX_LOSSES.build("relative_sides")
    predictions, zero = pyramid((1, 1, 8)), torch.tensor([0])  # its box is (0, 0) to (8, 8)
    targets = replace(one_image((-4, 0, 12, 24, 0)), sizes=torch.tensor([[16.0, 32.0]]))
    pair = loss.of_pairs(predictions, targets, Matches(zero, zero, zero, torch.ones(1)))
    assert pair.item() == pytest.approx((4 / 16 + 0 + 4 / 16 + 16 / 32) / 4)


def test_relative_box_losses_ask_for_the_size_of_the_image():
    predictions, unsized = pyramid((2, 2, 8)), replace(TARGETS, sizes=None)
    box_loss = BOX_LOSSES.build("relative_l1")
    with pytest.raises(ValueError, match="sizes: boxes relative to the image need the targets' image sizes, got None"):
        assignment_losses(predictions, unsized, Sigmoid()(predictions), assignment_of(predictions), box_loss)


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ({}, "box loss: expected at least one term with its weight"),
        ({"relative_l1": 5.0, "l1": 1.0}, "box_loss: expected terms that differ in more than 'relative_'"),
        ({"relative_l2": 5.0}, "unknown box loss 'relative_l2'; did you mean 'relative_l1'"),
        ({"l1": "5"}, "box loss 'l1': expected a number as its weight, got '5'"),
        ({"giou": {"weight": 2.0, "eps": 1.0}}, "unknown parameter of box loss 'giou' 'eps'"),
    ],
    ids=str,
)
def test_a_mistake_in_a_list_of_box_losses_is_answered_in_one_sentence(spec, sentence):
    with pytest.raises(ValueError, match=sentence):
        build_box_loss(spec)


def test_distances_are_learned_as_the_two_whole_strides_beside_them():
    """The target reaches 1.25, 0, 0.75 and 1 strides from the point; the distribution is even over three of them."""
    logits = torch.zeros(1, 1, 4, 3)
    logits[0, 0, 0, 1] = math.log(2)
    predictions = pyramid((1, 1, 8), distribution=logits)
    targets, zero = one_image((4 - 10, 4, 4 + 6, 4 + 8, 0)), torch.tensor([0])
    matches = Matches(zero, zero, zero, torch.ones(1))
    left = -(0.75 * math.log(0.5) + 0.25 * math.log(0.25))
    loss = BOX_LOSSES.build("dfl").of_pairs(predictions, targets, matches)
    assert loss.item() == pytest.approx((left + 3 * math.log(3)) / 4)


def test_a_distance_beyond_the_distribution_counts_as_just_short_of_its_end():
    predictions = pyramid((1, 1, 8), distribution=torch.tensor([0.0, 0.0, 2.0]).expand(1, 1, 4, 3))
    targets, zero = one_image((-400, -400, 400, 400, 0)), torch.tensor([0])
    loss = BOX_LOSSES.build("dfl").of_pairs(predictions, targets, Matches(zero, zero, zero, torch.ones(1)))
    logs = torch.tensor([0.0, 0.0, 2.0]).log_softmax(0)
    assert loss.item() == pytest.approx(-(0.1 * logs[1] + 0.9 * logs[2]).item(), rel=1e-5)


def test_centres_count_in_strides_and_sides_by_their_logs():
    predictions = pyramid((1, 1, 8), boxes=torch.tensor([[[0.0, 0.0, 16.0, 8.0]]]))
    zero = torch.tensor([0])
    matches = Matches(zero, zero, zero, torch.ones(1))
    loss = BOX_LOSSES.build("log_size_l1").of_pairs(predictions, one_image((8, 4, 16, 36, 0)), matches)
    assert loss.item() == pytest.approx(0.5 + 2 + math.log(2) + math.log(4), rel=1e-5)


def test_a_collapsed_box_is_finitely_far_in_logs():
    boxes = torch.tensor([[[4.0, 4.0, 4.0, 3.0]]], requires_grad=True)
    zero = torch.tensor([0])
    matches = Matches(zero, zero, zero, torch.ones(1))
    loss = BOX_LOSSES.build("log_size_l1").of_pairs(
        pyramid((1, 1, 8), boxes=boxes), one_image((0, 0, 8, 8, 0)), matches
    )
    loss.sum().backward()
    assert loss.item() == pytest.approx(0.5 / 8 - 2 * math.log(1e-4), rel=1e-5)
    assert boxes.grad.isfinite().all()


def test_a_bag_takes_the_place_of_the_sums_over_pairs():
    predictions = pyramid((2, 2, 8))
    assignment = replace(
        assignment_of(predictions), bag=torch.tensor([[1.0, 2.5]]), further={"loss_more": torch.ones(())}
    )
    losses = assignment_losses(predictions, TARGETS, Sigmoid()(predictions), assignment, build_box_loss("giou"))
    assert sorted(losses) == ["loss_bag", "loss_cls_neg", "loss_more"]
    assert losses["loss_bag"] == 3.5 / assignment.normalizers[0]

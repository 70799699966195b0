"""PAA on a row of points in one object, whose losses are made to measure by their boxes."""

import math
from dataclasses import replace

import pytest
import torch
from support.small import one_image, pyramid, samples_of

from detassign.assigners import PAA, MaxIoU, Predictions, Targets, build
from detassign.assigners.laws.batches import random_batch

TARGET = (0, 0, 64, 64, 1)
EXACT = torch.tensor([0.0, 0, 64, 64])


class Everything:
    """Every sample is a candidate of the first target."""

    needs = frozenset({"points"})
    cardinality = "one-to-many"

    def __call__(self, predictions, targets):
        from detassign.assigners import Matches

        sample = torch.arange(predictions.logits.shape[1])
        none = torch.zeros_like(sample)
        return Matches(none, sample, none, torch.ones(len(sample)))


def with_losses(*widths):
    """A sample per width, whose box is so much of the object's: the wider, the smaller the loss."""
    predictions = pyramid((1, len(widths), 8))
    boxes = EXACT.repeat(len(widths), 1)
    boxes[:, 2] *= torch.tensor(widths)
    return replace(predictions, boxes=boxes[None])


def matched(predictions, **arguments):
    matches = PAA(Everything(), **arguments)(predictions, one_image(TARGET))
    ignored = [] if matches.ignored is None else matches.ignored[0].nonzero()[:, 0].tolist()
    return samples_of(matches), ignored


def test_a_loss_is_the_focal_loss_over_all_classes_and_the_distance_of_the_boxes():
    predictions = with_losses(0.5)
    matches = Everything()(predictions, one_image(TARGET))
    focal = math.log(2) * 0.25 * (0.25 + 2 * 0.75)  # P is 1/2 for all three classes
    for scale in (1.0, 1.3):
        loss = PAA(box_scale=scale).losses(matches, predictions, one_image(TARGET))
        assert loss.item() == pytest.approx(focal + scale * 0.5, rel=1e-6)


def test_the_score_of_a_pair_is_the_likelihood_that_its_loss_is_of():
    predictions, targets = with_losses(1.0), one_image(TARGET)
    matches = PAA(Everything())(predictions, targets)
    loss = PAA().losses(matches, predictions, targets)
    assert matches.score.item() == pytest.approx(math.exp(-loss.item()))


SPREAD = (1.0, 0.95, 0.9, 0.85, 0.8, 0.3, 0.25, 0.2, 0.15)  # two groups of losses: five and four


def test_what_each_separation_takes_and_leaves_out():
    def taken(separation, **more):
        return matched(with_losses(*SPREAD), separation=separation, box_scale=20.0, **more)

    assert taken("a") == ([0, 1, 2, 3, 4], [])
    assert taken("c") == ([0, 1, 2], [])  # the middle of five evenly spread losses is the likeliest
    assert taken("c", strict=True) == ([0, 1, 2], [])
    assert taken("d") == ([0, 1, 2], [3, 4])
    kept, left_out = taken("b")
    assert kept == [0, 1, 2]
    assert left_out in ([3, 4, 5], [3, 4, 5, 6])  # before the peak of the other four: its second or third


@pytest.mark.parametrize(("choice", "wanted"), [("positive", [0]), ("negative", [])])
def test_an_only_candidate_is_what_one_wants(choice, wanted):
    assert matched(with_losses(0.7), single_candidate=choice) == (wanted, [])


def test_candidates_are_the_k_of_least_loss_on_each_level():
    predictions = pyramid((1, 4, 8), (1, 3, 16))
    boxes = EXACT.repeat(7, 1)
    boxes[:, 2] *= torch.tensor([0.5, 0.6, 0.7, 0.4, 0.1, 0.3, 0.2])
    matching = PAA(Everything(), k=2)
    candidates, _ = matching.candidates(replace(predictions, boxes=boxes[None]), one_image(TARGET))
    assert samples_of(candidates) == [1, 2, 5, 6]


def test_candidates_of_equal_loss_are_chosen_together():
    assert matched(with_losses(1.0, 0.5, 0.5, 0.9, 0.9))[0] in ([0, 3, 4], [0], [0, 1, 2, 3, 4])
    assert matched(with_losses(0.7, 0.7, 0.7))[0] == [0, 1, 2]


def test_a_prediction_that_is_not_a_number_is_no_candidate():
    predictions = with_losses(1.0, 0.9, 0.5)
    predictions.boxes[0, 0] = torch.nan
    predictions.logits[0, 1] = torch.nan
    assert matched(predictions) == ([2], [])


def test_candidates_may_come_from_any_matching():
    predictions, targets = random_batch(build("paa", 3), seed=1)
    for first in ("center_sampling", {"type": "center_prior", "sigma": 2}):
        matching = build("paa", 3, first=first).matching
        kept, offered = matching(predictions, targets), matching.first(predictions, targets)
        table = {tuple(pair) for pair in torch.stack([offered.image, offered.sample, offered.target], 1).tolist()}
        chosen = {tuple(pair) for pair in torch.stack([kept.image, kept.sample, kept.target], 1).tolist()}
        assert chosen
        assert chosen <= table


def crossed():
    """Two anchors and three objects: anchor 1 is the best of objects 1 and 2, and overlaps object 0 most itself."""
    priors = torch.tensor([[0.0, 0, 10, 10], [100, 0, 110, 10]])
    boxes = torch.tensor([[101.0, 0, 111, 10], [100, 0, 110, 2], [100, 8, 110, 10]])
    points = (priors[:, :2] + priors[:, 2:]) / 2
    predictions = Predictions(torch.zeros(1, 2, 3), priors[None], None, points, torch.ones(2), (2,), priors)
    return predictions, Targets.from_lists([boxes], [torch.zeros(3, dtype=torch.long)])


@pytest.mark.parametrize("positive_iou", [0.1, 0.9])
def test_the_best_anchor_of_an_object_goes_to_the_object_that_it_overlaps_most_itself(positive_iou):
    matching = MaxIoU(positive_iou, positive_iou, conflict="own")
    assert matching(*crossed()).target.tolist() == [0]


def test_mmdets_gives_it_to_the_last_object_and_ours_to_the_one_with_the_highest_overlap():
    last, best = (build("paa_mmdet", 3, order_free=free).matching.first(*crossed()) for free in (False, True))
    assert last.target.tolist() == [2]
    assert best.target.tolist() == [0]


@pytest.mark.parametrize("preset", ["paa", "paa_mmdet"])
def test_candidates_overlap_an_object_as_squares_of_so_many_strides(preset):
    predictions = pyramid((1, 8, 8))
    for scale, wanted in ((1, [0]), (3, [0, 1])):  # IoUs of 1 and 0; of 1/9 twice
        first = build(preset, 3, prior_scale=scale).matching.first
        assert samples_of(first(predictions, one_image((0, 0, 8, 8, 1)))) == wanted


def test_an_image_without_objects_and_a_batch_without_any_are_all_background():
    predictions, _ = random_batch(build("paa", 3))
    empty = Targets.from_lists([torch.zeros(0, 4)] * 2, [torch.zeros(0)] * 2)
    losses = build("paa", 3).loss(predictions, empty)
    assert losses["loss_box"] == losses["loss_iou"] == losses["loss_cls_pos"] == 0
    assert losses["loss_cls_neg"].isfinite()
    halved = build("paa_mmdet", 3).loss(predictions, empty)["loss_cls_neg"]  # by the number of images
    torch.testing.assert_close(2 * halved, losses["loss_cls_neg"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"separation": "e"}, "separation: expected one of a, b, c, d, got 'e'"),
        ({"single_candidate": "none"}, "single_candidate: expected one of positive, negative, got 'none'"),
        ({"k": 0}, "k: expected a whole number of at least 1, got 0"),
    ],
)
def test_what_paa_does_not_know_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        PAA(**arguments)

from dataclasses import replace

import pytest
import torch
from support.small import one_image, pairs, pyramid, samples_of

from detassign.assigners import POTO, Assigner, Predictions, SigmoidObjectness, build, focal
from detassign.assigners.laws.batches import random_batch


def row(*spans, scores=None, **parts):
    """Points at 4, 12, 20, … of one row at stride 8 that predict boxes of the given x1, x2, from y 0 to 8."""
    spans = torch.tensor(spans, dtype=torch.float32)
    boxes = torch.stack([spans[:, 0], torch.zeros(len(spans)), spans[:, 1], torch.full((len(spans),), 8.0)], -1)
    logits = torch.logit(torch.tensor(scores or [0.5] * len(spans)))[None, :, None].expand(1, -1, 3).clone()
    return pyramid((1, len(spans), 8), boxes=boxes[None], logits=logits, **parts)


def test_the_score_is_a_fifth_of_the_class_and_four_of_the_box_in_log_space():
    predictions = row((0, 16), (0, 8), scores=[0.25, 0.5])
    targets = one_image((0, 0, 16, 8, 1))
    matches = POTO()(predictions, targets)
    assert pairs(matches) == {(0, 0, 0)}
    assert matches.score.item() == pytest.approx(0.25**0.2)
    predictions.boxes[0, 0, 2] = 4.0
    matches = POTO()(predictions, targets)
    assert pairs(matches) == {(0, 1, 0)}
    assert matches.score.item() == pytest.approx(0.5**0.2 * 0.5**0.8)
    assert POTO(alpha=1.0)(predictions, targets).score.item() == pytest.approx(0.5)


def test_the_sum_counts_where_two_objects_want_one_sample():
    predictions = row((0, 16), (0, 14), (40, 48))
    twins = one_image((0, 0, 16, 8, 1), (0, 0, 15, 8, 1))
    best = {(0, 0, 0): 0.5**0.2, (0, 1, 1): 0.5**0.2 * (14 / 15) ** 0.8}
    other = 0.5**0.2 * (15 / 16) ** 0.8 + 0.5**0.2 * (14 / 16) ** 0.8
    assert sum(best.values()) > other
    assert pairs(POTO()(predictions, twins)) == set(best)


def test_an_object_without_candidates_has_no_sample_unless_leftovers_are_handed_out():
    predictions = row((0, 16), (0, 16), (0, 16))
    targets = one_image((3, 9, 5, 11, 0), (0, 0, 16, 8, 1))
    assert pairs(POTO()(predictions, targets)) == {(0, 0, 1)}
    leftovers = POTO(leftovers=True)(predictions, targets)
    assert sorted(leftovers.target.tolist()) == [0, 1]
    assert samples_of(leftovers, 0) != samples_of(leftovers, 1)


def test_candidates_lie_in_the_centre_square_cut_to_the_box():
    predictions = row((0, 64), (0, 64), (0, 64), (16, 64), (0, 8), (0, 8), (0, 8), (0, 8))
    targets = one_image((0, 0, 64, 8, 0))  # centre 32: points 20.5 to 43.5 with a radius of 1.5 strides
    assert samples_of(POTO()(predictions, targets)) == [3]
    assert samples_of(POTO(radius=None)(predictions, targets)) != [3]
    assert samples_of(POTO(radius=0.4)(predictions, targets)) == []


def test_of_candidates_that_are_equally_good_the_nearest_is_taken():
    predictions = row((100, 104), (100, 104), (100, 104))
    targets = one_image((0, 0, 22, 8, 0))  # centre 11; the points are 4, 12, 20
    for choice in ("hungarian", "argmax"):
        matches = POTO(choice=choice)(predictions, targets)
        assert samples_of(matches) == [1]
        assert matches.score.tolist() == [0]


def test_argmax_gives_a_sample_to_the_object_it_is_best_for_and_the_others_nothing():
    predictions = row((0, 16), (0, 10), (40, 48))
    twins = one_image((0, 0, 16, 8, 1), (0, 0, 15, 8, 1))
    assert pairs(POTO(choice="argmax")(predictions, twins)) == {(0, 0, 0)}


def test_by_its_loss_a_pair_costs_focal_over_all_classes_and_giou():
    predictions = row((0, 16), (0, 8), scores=[0.25, 0.5])
    targets = one_image((0, 0, 16, 8, 1))
    matches = POTO(quality="loss")(predictions, targets)
    p = torch.tensor(0.25)
    focal_loss = 0.25 * (1 - p) ** 2 * -p.log() + 2 * 0.75 * p**2 * -(1 - p).log()
    assert pairs(matches) == {(0, 0, 0)}
    assert -matches.score.log().item() == pytest.approx(focal_loss.item(), rel=1e-5)


def test_by_its_loss_one_more_matched_object_goes_before_any_sum():
    predictions = row((0, 16), (900, 999), scores=[0.9, 0.001])
    twins = one_image((0, 0, 16, 8, 1), (0, 0, 16, 8, 1))
    assert len(POTO(quality="loss")(predictions, twins).image) == 2


def test_the_probability_is_that_of_the_assigners_score_model():
    predictions = row((0, 16), (0, 16), scores=[0.9, 0.5])
    targets = one_image((0, 0, 16, 8, 2))
    assert samples_of(POTO()(predictions, targets)) == [0]
    predictions.objectness[0, 0] = -9.0
    joint = Assigner("poto", focal(), SigmoidObjectness())
    assert joint.match(predictions, targets).sample.tolist() == [1]
    assert "objectness" in joint.needs


@pytest.mark.parametrize("part", ["boxes", "logits"])
@pytest.mark.parametrize(
    "options", [{}, {"choice": "argmax"}, {"quality": "loss"}, {"quality": "loss", "choice": "argmax"}], ids=str
)
def test_a_prediction_that_is_no_number_is_no_candidate(part, options):
    predictions = row((0, 16), (100, 116))
    getattr(predictions, part)[0, 0] = torch.nan
    assert samples_of(POTO(**options)(predictions, one_image((0, 0, 16, 8, 1)))) == [1]
    getattr(predictions, part)[:] = torch.nan
    assert samples_of(POTO(**options)(predictions, one_image((0, 0, 16, 8, 1)))) == []


@pytest.mark.parametrize("options", [{}, {"choice": "argmax"}, {"quality": "loss"}, {"leftovers": True}], ids=str)
def test_more_objects_than_samples_and_none_at_all_are_defined(options):
    predictions = row((0, 16), (0, 16))
    many = one_image(*[(0, 0, 16, 8, 1)] * 5)
    assert len(POTO(**options)(predictions, many).image) == (1 if options.get("choice") else 2)
    assert len(POTO(**options)(predictions, one_image()).image) == 0


def test_samples_outside_their_image_are_never_left_over():
    predictions, targets = random_batch(build("poto", 3), seed=1)
    valid = torch.zeros_like(predictions.logits[..., 0], dtype=torch.bool)
    valid[:, ::7] = True
    matches = POTO(leftovers=True)(replace(predictions, valid=valid), targets)
    assert len(matches.image) == targets.mask.sum()
    assert valid[matches.image, matches.sample].all()


def test_samples_in_ignore_regions_are_not_pushed_down():
    predictions = row((0, 16), (0, 16), (0, 8))
    targets = one_image((0, 0, 8, 8, 1), ignore=[(7, 0, 30, 8)])
    matches = POTO()(predictions, targets)
    assert matches.ignored.tolist() == [[False, True, True]]
    assert POTO(ignore_threshold=0)(predictions, targets).ignored is None


def test_queries_with_geometry_of_their_own_are_matched():
    predictions, targets = random_batch(build("poto", 3), seed=2)
    own = {"points": predictions.points.expand(2, -1, -1), "strides": predictions.strides.expand(2, -1)}
    queries = Predictions(predictions.logits, predictions.boxes, **own)
    assert pairs(POTO()(queries, targets)) == pairs(POTO()(predictions, targets))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"alpha": 1.5}, "alpha: expected a number from 0 to 1"),
        ({"quality": "cost"}, "quality: expected"),
        ({"choice": "best"}, "choice: expected"),
        ({"choice": "argmax", "leftovers": True}, "leftovers: only the choice 'hungarian'"),
    ],
)
def test_what_poto_does_not_know_is_refused(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        POTO(**arguments)

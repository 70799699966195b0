"""RFLA on small pyramids; the field of stride 8 is a square of 45.5 pixels, that of stride 16 one of 133.5."""

from dataclasses import replace

import pytest
import torch
from support.small import one_image, pairs, pyramid, samples_of

from detassign.assigners import ReceptiveField, Targets, build
from detassign.assigners.boxes import center, sides
from detassign.assigners.matching.receptive_field import resized, usual_fields

TINY = (9.0, 1.5, 14.0, 6.5, 0)  # centre (11.5, 4), nearest to (12, 4), sample 1 of a map of stride 8


def test_fields_are_squares_about_the_points_as_wide_as_half_the_receptive_field():
    fields = ReceptiveField().fields_of(pyramid((4, 4, 8), (2, 2, 16)))
    assert sides(fields)[0, [0, 16]].tolist() == [[45.5, 45.5], [133.5, 133.5]]
    assert center(fields)[0, [0, 16]].tolist() == [[4, 4], [8, 8]]


def test_fields_may_be_listed_by_level_or_be_another_fraction():
    predictions = pyramid((4, 4, 8), (2, 2, 16))
    listed = ReceptiveField(fields=[10, 30], fraction=1.0).fields_of(predictions)
    assert sides(listed)[0, [0, 16], 0].tolist() == [10, 30]
    with pytest.raises(ValueError, match=r"fields: expected one per level \(2\), got 3"):
        ReceptiveField(fields=[1, 2, 3]).fields_of(predictions)


def test_where_there_are_priors_they_are_the_fields():
    priors = torch.rand(1, 16, 4)
    predictions = pyramid((4, 4, 8), priors=priors, level_sizes=None)
    assert ReceptiveField(fields=[1, 2, 3]).fields_of(predictions) is priors


def test_a_stride_that_no_resnet_pyramid_has_takes_its_nearest_field_in_proportion():
    strides = torch.tensor([2.0, 8.0, 24.0, 256.0])
    assert usual_fields(strides).tolist() == [35 / 2, 91, 427 * 24 / 32, 811 * 2]


def test_boxes_are_resized_about_their_centres():
    assert resized(torch.tensor([0.0, 0.0, 10.0, 20.0]), 0.5).tolist() == [2.5, 5.0, 7.5, 15.0]


def test_a_tiny_object_takes_its_k_nearest_points_and_the_second_step_adds_none():
    predictions = pyramid((4, 4, 8), (2, 2, 16))
    assert samples_of(ReceptiveField()(predictions, one_image(TINY))) == [0, 1, 5]
    assert samples_of(ReceptiveField(k=1)(predictions, one_image(TINY))) == [1]


def test_an_object_at_the_border_of_two_levels_takes_one_of_the_next_in_the_second_step():
    """82 pixels: the field of 45.5 is more like it than that of 133.5, but of the shrunk ones the second is."""
    predictions = pyramid((16, 16, 8), (8, 8, 16))
    targets = one_image((64 - 41, 64 - 41, 64 + 41, 64 + 41, 0))
    found = samples_of(ReceptiveField(k=4)(predictions, targets))
    assert [sample < 256 for sample in found] == [True] * 4 + [False]
    assert found == samples_of(ReceptiveField(k=4, shrink=1.0)(predictions, targets)) + found[4:]


def test_an_object_that_lost_its_samples_in_the_first_step_may_win_none_in_the_second():
    """Two objects on one sample: the more similar has it in both steps, in whatever order they come."""
    predictions, closer = pyramid((1, 1, 8)), (0.0, 0.0, 9.0, 9.0, 1)
    assert pairs(ReceptiveField()(predictions, one_image(TINY, closer))) == {(0, 0, 1)}
    assert pairs(ReceptiveField()(predictions, one_image(closer, TINY))) == {(0, 0, 0)}
    last = ReceptiveField(conflict="last")
    assert pairs(last(predictions, one_image(closer, TINY))) == {(0, 0, 1)}


def test_pairs_outside_their_object_are_left_out_by_choice():
    predictions = pyramid((4, 4, 8))
    assert samples_of(ReceptiveField(inside=True)(predictions, one_image(TINY))) == [1]


def test_what_a_shrunk_field_is_most_like_is_ignored_by_choice():
    predictions, targets = pyramid((2, 2, 8)), one_image((-16.5, -16.5, 24.5, 24.5, 0))  # a shrunk field at (4, 4)
    assert ReceptiveField(k=1)(predictions, targets).ignored is None
    ignored = ReceptiveField(k=1, ignore_above=0.8)(predictions, targets).ignored
    assert ignored.tolist() == [[False, True, True, True]]


def two_images():
    """The same object at a border of levels twice, so that shrinking the fields of the second changes its pairs."""
    one = one_image((64 - 41, 64 - 41, 64 + 41, 64 + 41, 0))
    return pyramid((16, 16, 8), (8, 8, 16), images=2), one.repeat(2)


def test_an_image_does_not_feel_those_before_it_unless_the_originals_fault_is_asked_for():
    predictions, targets = two_images()
    of_each = [samples_of(ReceptiveField(k=4)(predictions, targets), image=i) for i in range(2)]
    assert of_each[0] == of_each[1]
    worn = ReceptiveField(k=4, carry_over=True)(predictions, targets)
    assert samples_of(worn, image=0) == of_each[0]
    assert samples_of(worn, image=1) != of_each[1]
    without = replace(targets, mask=torch.tensor([[False], [True]]))  # an image without objects shrinks nothing
    assert samples_of(ReceptiveField(k=4, carry_over=True)(predictions, without), image=1) == of_each[1]


def test_what_is_given_is_not_changed():
    priors = torch.rand(2, 16, 4)
    before = priors.clone()
    targets = Targets(torch.tensor([[[1.0, 1.0, 5.0, 5.0]]] * 2), torch.zeros(2, 1).long(), torch.ones(2, 1).bool())
    ReceptiveField(carry_over=True)(pyramid((4, 4, 8), images=2, priors=priors), targets)
    assert torch.equal(priors, before)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"shrink": 0}, "shrink: expected a positive number, got 0"),
        ({"fraction": -1.0}, r"fraction: expected a positive number, got -1.0"),
        ({"shrunk_k": 0}, "shrunk_k: expected a whole number of at least 1, got 0"),
        ({"ties": "all"}, "ties: expected one of rank, join, got 'all'"),
    ],
)
def test_what_it_does_not_know_is_refused(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        ReceptiveField(**arguments)


def test_the_presets_differ_as_they_say():
    ours, theirs = build("rfla", 3), build("rfla_original", 3)
    for assigner, rule in ((ours, ("rank", "best", False)), (theirs, ("join", "last", False))):
        matching = assigner.matching
        assert {(step.ties, step.conflict) for step in (matching.first, matching.second)} == {rule[:2]}
        assert matching.carry_over == rule[2]
        assert (matching.first.k, matching.second.k, matching.shrink, matching.fraction) == (3, 1, 0.9, 0.5)
    assert build("rfla_original", 3, carry_over=True).matching.carry_over


def test_the_box_of_a_point_outside_its_object_is_learned_a_little():
    """Sample 0, (4, 4), lies 5 pixels left of it, in the middle of its height."""
    predictions = pyramid((4, 4, 8))
    assigner = build("rfla", 3)
    assignment = assigner(predictions, one_image(TINY))
    weight = dict(zip(assignment.matches.sample.tolist(), assignment.box.tolist(), strict=True))
    assert weight[0] == pytest.approx((0.01 * 8 / 10) ** 0.5, rel=1e-5)
    assert assigner.branch.least_side == 0.01
    assert build("fcos", 3).branch.least_side == 0.0

import pytest
import torch
from support.small import one_image, pairs, pyramid, samples_of

from detassign.assigners import Uniform

FAR = [500.0, 500.0, 510.0, 510.0]


def row(*boxes):
    """A row of stride 8 with a square anchor of 16 px at each point (4, 12, …) and these predicted boxes."""
    return pyramid((1, len(boxes), 8), boxes=torch.tensor([boxes], dtype=torch.float32))


def test_an_object_takes_the_nearest_by_prediction_and_the_nearest_by_anchor():
    predictions = row(FAR, FAR, FAR, [-3, -3, 11, 11], FAR)
    matches = Uniform(k=1, positive_iou=0.0, prior_scale=2)(predictions, one_image((-4, -4, 12, 12, 1)))
    assert samples_of(matches) == [0, 3]


def test_a_pair_chosen_twice_is_one_pair():
    predictions = row([-4, -4, 12, 12], FAR)
    assert len(Uniform(k=1, prior_scale=2)(predictions, one_image((-4, -4, 12, 12, 1))).sample) == 1
    assert len(Uniform(k=1, prior_scale=2).chosen(predictions, one_image((-4, -4, 12, 12, 1))).sample) == 2


def test_a_pair_whose_anchor_hardly_overlaps_is_ignored():
    predictions = row(FAR, FAR, FAR, [-3, -3, 11, 11], FAR)
    matches = Uniform(k=1, prior_scale=2, negative_iou=1.0)(predictions, one_image((-4, -4, 12, 12, 1)))
    assert samples_of(matches) == [0]
    assert matches.ignored[0].tolist() == [False, False, False, True, False]


def test_nobodys_sample_that_fits_well_is_ignored():
    predictions = row([-4, -4, 12, 12], [-4, -4, 12, 11.9], FAR)
    matches = Uniform(k=1, prior_scale=2)(predictions, one_image((-4, -4, 12, 12, 1)))
    assert samples_of(matches) == [0]
    assert matches.ignored[0].tolist() == [False, True, False]


def test_a_contested_sample_goes_to_the_best_overlap_and_in_the_original_to_the_last():
    fits, shifted = (-4, -4, 12, 12, 0), (-4, -2, 12, 14, 1)
    predictions = row(FAR, FAR)
    for order in ([fits, shifted], [shifted, fits]):
        best = Uniform(k=1, prior_scale=2)(predictions, one_image(*order))
        last = Uniform(k=1, prior_scale=2, conflict="last")(predictions, one_image(*order))
        assert {order[target] for _, sample, target in pairs(best) if sample == 0} == {fits}
        assert {target for _, sample, target in pairs(last) if sample == 0} == {1}


@pytest.mark.parametrize(("arguments", "named"), [({"k": 0}, "k:"), ({"conflict": "first"}, "conflict")])
def test_what_makes_no_sense_is_refused(arguments, named):
    with pytest.raises(ValueError, match=named):
        Uniform(**arguments)

import pytest
import torch
from support.small import one_image, pairs, pyramid, samples_of

from detassign.assigners import Assigner, OneToFew, SigmoidObjectness, focal


def row(*spans, scores=None, **parts):
    """Points at 4, 12, 20, … of one row at stride 8 that predict boxes of the given x1, x2, from y 0 to 8."""
    spans = torch.tensor(spans, dtype=torch.float32)
    boxes = torch.stack([spans[:, 0], torch.zeros(len(spans)), spans[:, 1], torch.full((len(spans),), 8.0)], -1)
    logits = torch.logit(torch.tensor(scores or [0.5] * len(spans)))[None, :, None].expand(1, -1, 3).clone()
    return pyramid((1, len(spans), 8), boxes=boxes[None], logits=logits, **parts)


def test_an_object_takes_the_k_samples_that_classify_and_fit_it_best():
    predictions = row((0, 24), (0, 12), (0, 6), scores=[0.5, 0.9, 0.9])
    targets = one_image((0, 0, 24, 8, 1))
    matches = OneToFew(k=2)(predictions, targets)
    assert pairs(matches) == {(0, 0, 0), (0, 1, 0)}
    assert matches.score.tolist() == pytest.approx([0.5**0.2, 0.9**0.2 * 0.5**0.8])
    assert samples_of(OneToFew()(predictions, targets)) == [0, 1, 2]
    assert samples_of(OneToFew(k=1)(predictions, targets)) == [0]


def test_candidates_lie_near_the_centre_and_overlap_the_object():
    predictions = row(*[(0, 64)] * 4, (0, 64), (64, 70), *[(0, 64)] * 2)
    targets = one_image((0, 0, 64, 8, 0))  # centre 32, the square reaches from 20 to 44
    assert samples_of(OneToFew()(predictions, targets)) == [3, 4]
    assert samples_of(OneToFew(radius=None)(predictions, targets)) == [0, 1, 2, 3, 4, 6, 7]


def test_a_contested_sample_goes_to_the_object_it_is_best_for_and_nothing_takes_its_place():
    predictions = row((0, 24), (0, 20), (0, 10))
    targets = one_image((0, 0, 24, 8, 1), (0, 0, 22, 8, 1))
    matches = OneToFew(k=1)(predictions, targets)
    assert pairs(matches) == {(0, 0, 0)}
    assert pairs(OneToFew(k=2)(predictions, targets)) == {(0, 0, 0), (0, 1, 1)}


def test_the_probability_is_that_of_the_assigners_score_model():
    predictions = row((0, 16), (0, 16), scores=[0.9, 0.5])
    targets = one_image((0, 0, 16, 8, 2))
    predictions.objectness[0, 0] = -9.0
    joint = Assigner("one_to_few(k=1)", focal(), SigmoidObjectness())
    assert joint.match(predictions, targets).sample.tolist() == [1]
    assert joint.cardinality == "one-to-few"


def test_no_objects_and_objects_without_candidates_have_no_pairs():
    predictions = row((0, 16), (0, 16))
    assert len(OneToFew()(predictions, one_image()).image) == 0
    assert len(OneToFew()(predictions, one_image((5, 5, 6, 6, 0))).image) == 0
    predictions.boxes[:] = torch.nan
    assert len(OneToFew()(predictions, one_image((0, 0, 16, 8, 1))).image) == 0


def test_samples_in_ignore_regions_are_not_pushed_down():
    predictions = row((0, 16), (0, 16), (0, 8))
    matches = OneToFew()(predictions, one_image((0, 0, 8, 8, 1), ignore=[(7, 0, 30, 8)]))
    assert matches.ignored.tolist() == [[False, True, True]]


@pytest.mark.parametrize(
    ("arguments", "sentence"), [({"k": 0}, "k: expected"), ({"alpha": -0.1}, "alpha: expected a number from 0 to 1")]
)
def test_what_it_does_not_know_is_refused(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        OneToFew(**arguments)

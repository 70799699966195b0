import math

import pytest
import torch
from support.random_batches import answer, random_batch
from support.small import one_image, pairs, pyramid, samples_of

from detassign.assigners import Assigner, CenterPrior, Dual
from detassign.assigners.matching.center_prior import center_prior


def gaussian(*offsets, sigma=1.11):
    return math.exp(-sum(offset**2 for offset in offsets) / (2 * sigma**2))


def test_the_score_is_a_gaussian_of_the_offset_in_strides():
    """Points 4 and 12 of stride 8 lie half a stride from the centre 8, point 8 of stride 16 on it."""
    matches = CenterPrior(3)(pyramid((2, 2, 8), (1, 1, 16)), one_image((1, 1, 15, 15, 2)))
    assert matches.score.tolist() == pytest.approx([gaussian(0.5, 0.5)] * 4 + [1.0])


def test_mean_and_sigma_are_kept_per_class_and_axis():
    prior = CenterPrior(3, mean=0.0, sigma=1.0)
    with torch.no_grad():
        prior.mean[2] = torch.tensor([0.5, 0.0])
        prior.sigma[2] = torch.tensor([1.0, 2.0])
    predictions = pyramid((2, 2, 8))
    shifted = prior(predictions, one_image((1, 1, 15, 15, 2))).score.tolist()
    plain = prior(predictions, one_image((1, 1, 15, 15, 1))).score.tolist()
    assert plain == pytest.approx([gaussian(0.5, 0.5, sigma=1)] * 4)
    left, right = gaussian(1.0, 0.25, sigma=1), gaussian(0.0, 0.25, sigma=1)
    assert shifted == pytest.approx([left, right, left, right])


def test_every_point_strictly_inside_is_a_pair_on_every_level():
    predictions = pyramid((4, 4, 8), (2, 2, 16))
    matches = CenterPrior(3)(predictions, one_image((4, 4, 21, 21, 0), (0, 0, 32, 32, 1)))
    assert samples_of(matches, 0) == [5, 6, 9, 10, 16]
    assert samples_of(matches, 1) == list(range(20))


def test_a_hard_prior_is_one_above_the_threshold_and_zero_below_and_keeps_the_pairs():
    predictions, targets = pyramid((8, 8, 8)), one_image((0, 0, 64, 64, 0))
    soft, hard = CenterPrior(3)(predictions, targets), CenterPrior(3, hard_threshold=0.3)(predictions, targets)
    assert pairs(hard) == pairs(soft)
    assert hard.score.tolist() == (soft.score > 0.3).float().tolist()
    assert 0 < hard.score.sum() < len(hard.score)


def test_a_minimum_score_takes_pairs_out_of_the_bag():
    predictions, targets = pyramid((8, 8, 8)), one_image((0, 0, 64, 64, 0))
    soft = CenterPrior(3)(predictions, targets)
    fewer = CenterPrior(3, minimum_score=0.3)(predictions, targets)
    assert samples_of(fewer) == soft.sample[soft.score >= 0.3].tolist()
    assert 0 < len(fewer.sample) < len(soft.sample)


NESTED = one_image((0, 0, 64, 64, 0), (20, 20, 60, 60, 1))


def test_a_point_inside_several_boxes_answers_for_all_of_them():
    matches = CenterPrior(3)(pyramid((8, 8, 8)), NESTED)
    assert set(samples_of(matches, 1)) < set(samples_of(matches, 0))


def test_exclusive_by_area_gives_the_point_to_the_smaller_box():
    matches = CenterPrior(3, exclusive="area")(pyramid((8, 8, 8)), NESTED)
    assert len(samples_of(matches, 1)) == 16
    assert len(samples_of(matches, 0)) == 64 - 16


def test_exclusive_by_center_gives_the_point_to_the_nearer_centre():
    """Centres 32 and 40: of the points inside both, those below the middle, where x + y < 72, go to the first."""
    matches = CenterPrior(3, exclusive="center")(pyramid((8, 8, 8)), NESTED)
    second = samples_of(matches, 1)
    assert all((s % 8) * 8 + 4 + (s // 8) * 8 + 4 >= 72 for s in second)
    assert sorted(second + samples_of(matches, 0)) == list(range(64))


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 100])
def test_chunks_bound_memory_and_change_nothing(chunk):
    whole, chunked = (Assigner(CenterPrior(3, chunk=c), Dual(), "sigmoid_objectness") for c in (None, chunk))
    predictions, targets = random_batch(whole, seed=5, counts=(7, 4))
    first, second = whole.match(predictions, targets), chunked.match(predictions, targets)
    for name in ("image", "sample", "target", "score"):
        assert torch.equal(getattr(first, name), getattr(second, name))
    for ours, theirs in zip(answer(chunked, predictions, targets), answer(whole, predictions, targets), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


def test_chunks_of_no_targets_are_no_pairs():
    assert pairs(CenterPrior(3, chunk=2)(pyramid((2, 2, 8)), one_image())) == set()


def test_a_learnable_prior_is_trained_by_the_loss_and_a_fixed_one_is_not():
    for learnable in (True, False):
        assigner = Assigner(CenterPrior(3, learnable=learnable), Dual(), "sigmoid_objectness")
        predictions, targets = random_batch(assigner)
        predictions.logits.requires_grad_()
        sum(assigner.loss(predictions, targets).values()).backward()
        gradients = [assigner.matching.mean.grad, assigner.matching.sigma.grad]
        if learnable:
            wanted = set(targets.labels[targets.mask].tolist())
            assert all(set(g.abs().sum(1).nonzero()[:, 0].tolist()) <= wanted for g in gradients)
            assert all(g.count_nonzero() > 0 for g in gradients)
        else:
            assert gradients == [None, None]


def test_a_learnable_prior_has_the_gradient_of_its_value():
    generator = torch.Generator().manual_seed(0)
    offset, mean = torch.randn(2, 10, 2, generator=generator, dtype=torch.float64)
    sigma = torch.rand(10, 2, generator=generator, dtype=torch.float64) + 0.5
    inputs = tuple(value.requires_grad_() for value in (offset, mean, sigma))
    assert torch.autograd.gradcheck(center_prior, inputs)


def test_an_ignore_region_marks_samples_and_leaves_pairs():
    matches = CenterPrior(3)(pyramid((2, 2, 8)), one_image((0, 0, 16, 16, 0), ignore=[[0, 0, 8, 8]]))
    assert matches.ignored.tolist() == [[True, False, False, False]]
    assert samples_of(matches) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"exclusive": "size"}, 'exclusive: expected None, "area" or "center", got \'size\''),
        ({"chunk": 0}, "chunk: expected at least 1 target at a time or None, got 0"),
        (
            {"learnable": True, "hard_threshold": 0.3},
            r"learnable: expected False with a hard_threshold, got both \(at 0.3\)",
        ),
    ],
)
def test_senseless_arguments_are_refused(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        CenterPrior(3, **arguments)


def test_an_object_without_a_point_inside_takes_the_nearest_on_demand():
    predictions = pyramid((4, 4, 8))
    targets = one_image((0, 0, 8, 8, 0), (15, 15, 17, 17, 1))  # the second lies between four points
    assert samples_of(CenterPrior(3)(predictions, targets), target=1) == []
    matches = CenterPrior(3, guarantee=4)(predictions, targets)
    assert samples_of(matches, target=0) == [0]
    assert samples_of(matches, target=1) == [5, 6, 9, 10]
    assert (matches.score > 0).all()


def test_a_guarantee_gives_no_sample_outside_the_image():
    valid = torch.ones(1, 16, dtype=torch.bool)
    valid[0, [5, 6]] = False
    predictions, targets = pyramid((4, 4, 8), valid=valid), one_image((15, 15, 17, 17, 1))
    assert samples_of(CenterPrior(3, guarantee=2)(predictions, targets)) == [9, 10]
    few = torch.zeros_like(valid)
    few[0, 3] = True
    assert samples_of(CenterPrior(3, guarantee=2)(pyramid((4, 4, 8), valid=few), targets)) == [3]

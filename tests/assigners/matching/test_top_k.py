import pytest
import torch
from support.random_batches import CLASSES, answer, random_batch
from support.small import one_image, pyramid, samples_of

from detassign.assigners import ATSS, Assigner, CenterPrior, CenterSampling, Dual, TopK, build
from detassign.assigners.matching.top_k import rank_within


def dual(matching):
    return Assigner(matching, Dual(), "sigmoid_objectness")


@pytest.mark.parametrize("k", [80, 1000])
def test_a_k_that_covers_everything_is_the_dense_form_exactly(k):
    dense, sparse = dual(CenterPrior(CLASSES)), dual(TopK(CenterPrior(CLASSES), k))
    predictions, targets = random_batch(dense, seed=1, counts=(5, 3))
    for ours, theirs in zip(answer(sparse, predictions, targets), answer(dense, predictions, targets), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("k", [1, 3, 9, 30])
def test_each_target_keeps_its_k_best_samples(k):
    prior = CenterPrior(CLASSES)
    predictions, targets = random_batch(dual(prior), seed=2, counts=(5, 3))
    every, kept = prior(predictions, targets), TopK(prior, k)(predictions, targets)
    assert len(kept.sample) <= k * targets.mask.sum()
    for image, target in targets.mask.nonzero().tolist():
        of_all = every.score[(every.image == image) & (every.target == target)]
        of_kept = kept.score[(kept.image == image) & (kept.target == target)]
        best = of_all.sort(descending=True).values[:k]
        assert torch.equal(of_kept.sort(descending=True).values, best)


def test_of_equal_scores_the_lower_sample_stays():
    """The four middle points of a symmetric box score alike."""
    matches = TopK(CenterPrior(3), 3)(pyramid((8, 8, 8)), one_image((0, 0, 64, 64, 0)))
    assert samples_of(matches) == [27, 28, 35]


def test_a_bag_of_another_matching_keeps_what_that_ignores():
    targets = one_image((0, 0, 16, 16, 0), ignore=[[16, 16, 32, 32]])
    matches = TopK(CenterPrior(3), 2)(pyramid((4, 4, 8)), targets)
    assert matches.ignored.sum() == 4


def test_it_needs_and_promises_what_its_matching_does():
    assert TopK(ATSS()).needs == ATSS.needs
    assert TopK(ATSS()).cardinality == "one-to-many"
    assert TopK(ATSS()).scale_invariant
    assert not TopK(CenterSampling(ranges=[(0, 64)])).scale_invariant


def test_the_inner_matching_may_be_a_name_and_is_the_centre_prior_unless_told():
    assert isinstance(TopK("atss", 4).matching, ATSS)
    assert TopK({"type": "center_prior", "sigma": 2.0}, num_classes=5).matching.sigma.tolist() == [[2.0, 2.0]] * 5
    assert isinstance(build("top_k+dual", num_classes=4).matching.matching, CenterPrior)


def test_a_learnable_inner_prior_still_learns():
    assigner = dual(TopK(CenterPrior(CLASSES, learnable=True), 5))
    predictions, targets = random_batch(assigner)
    sum(assigner.loss(predictions, targets).values()).backward()
    assert assigner.matching.matching.sigma.grad.count_nonzero() > 0


@pytest.mark.parametrize("k", [0, -1])
def test_a_bag_without_room_is_refused(k):
    with pytest.raises(ValueError, match=f"k: expected at least 1, got {k}"):
        TopK(CenterPrior(3), k)


def test_ranks_count_from_zero_in_each_group():
    group = torch.tensor([2, 0, 2, 0, 2, 5])
    score = torch.tensor([0.1, 0.3, 0.9, 0.3, 0.5, 0.0])
    assert rank_within(group, score).tolist() == [2, 0, 0, 1, 1, 0]
    assert rank_within(group[:0], score[:0]).tolist() == []


def test_equal_scores_are_ranked_by_the_next_one():
    group, score = torch.tensor([0, 0, 0, 1]), torch.tensor([0.5, 0.5, 0.9, 0.5])
    assert rank_within(group, score, torch.tensor([0.1, 0.2, 0.0, 0.0])).tolist() == [2, 1, 0, 0]
    assert rank_within(group, score, torch.tensor([0.2, 0.2, 0.0, 0.0])).tolist() == [1, 2, 0, 0]

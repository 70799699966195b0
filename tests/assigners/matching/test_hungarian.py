"""Hungarian matching: the least total cost, one to one, whatever the costs are."""

import warnings
from dataclasses import replace
from itertools import permutations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.random_batches import law, random_boxes, random_targets
from support.small import pairs

from detassign.assigners import COSTS, Assigner, Hungarian, Predictions, Targets
from detassign.assigners.matching.hungarian import FOCAL_COSTS, SOFTMAX_COSTS, packed, solve, unpacked

seeds = st.integers(0, 10_000)


def queries(seed=0, images=2, samples=6, columns=3, **parts) -> Predictions:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(images, samples, columns, generator=generator)
    return Predictions(logits, random_boxes(generator, images, samples), **parts)


def picked(cost, image, sample, target):
    return cost[image, sample, target].sum().item()


@given(seed=seeds, count=st.integers(1, 4), samples=st.integers(1, 5))
@law
def test_no_other_one_to_one_matching_costs_less(seed, count, samples):
    predictions, targets = queries(seed, images=1, samples=samples), random_targets(seed, (count,), spare=0)
    matching = Hungarian()
    cost, matches = matching.cost(predictions, targets), matching(predictions, targets)
    total = picked(cost, matches.image, matches.sample, matches.target)
    table = cost[0] if samples >= count else cost[0].T
    long, short = table.shape
    best = min(sum(table[row, column].item() for column, row in enumerate(p)) for p in permutations(range(long), short))
    assert total == pytest.approx(best, abs=1e-5)


@given(seed=seeds, counts=st.tuples(st.integers(0, 9), st.integers(0, 9)), samples=st.integers(1, 6))
@law
def test_every_target_gets_a_sample_or_every_sample_a_target(seed, counts, samples):
    matches = Hungarian()(queries(seed, samples=samples), random_targets(seed, counts))
    for image, count in enumerate(counts):
        here = matches.image == image
        assert here.sum() == min(count, samples)
        assert matches.sample[here].unique().numel() == matches.target[here].unique().numel() == here.sum()
    assert (matches.score == 1).all()


def test_a_batch_without_targets_has_no_pairs():
    for spare in (0, 2):
        matches = Hungarian()(queries(), random_targets(0, (0, 0), spare))
        assert len(matches.image) == len(matches.sample) == len(matches.target) == 0


@given(seed=seeds)
@law
def test_samples_that_are_not_valid_are_never_chosen(seed):
    valid = torch.tensor([[True, False, True, False, True, True], [False, False, False, True, False, False]])
    matches = Hungarian()(queries(seed, valid=valid), random_targets(seed, (3, 2)))
    assert valid[matches.image, matches.sample].all()
    assert torch.bincount(matches.image).tolist() == [3, 1]


@given(seed=seeds, value=st.sampled_from([torch.nan, torch.inf, -torch.inf]))
@law
def test_a_cost_that_is_not_finite_loses_to_every_finite_one(seed, value):
    cost = torch.randn(1, 5, 3, generator=torch.Generator().manual_seed(seed)) * 1e6
    cost[0, 1] = value
    cost[0, 3, 1:] = value
    everything = torch.ones(1, 5, dtype=torch.bool)
    image, sample, target = solve(cost, everything, everything[:, :3])
    assert len(image) == 3
    assert cost[image, sample, target].isfinite().all()


@pytest.mark.parametrize("shape", [(2, 5, 3), (1, 4, 0), (3, 1, 2)])
def test_what_goes_to_the_host_in_one_piece_comes_apart_again(shape):
    generator = torch.Generator().manual_seed(0)
    cost = torch.randn(shape, generator=generator).masked_fill(torch.rand(shape, generator=generator) < 0.2, torch.nan)
    valid, mask = (torch.rand(shape[0], size, generator=generator) < 0.5 for size in shape[1:])
    for ours, theirs in zip(unpacked(packed(cost, valid, mask)), (cost, valid, mask), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0, equal_nan=True)


@pytest.mark.filterwarnings("ignore:hungarian")
def test_pairs_without_a_finite_cost_are_still_pairs():
    predictions, targets = queries(samples=2), random_targets(0, (2, 2))
    predictions.boxes[0] = torch.nan
    assert torch.bincount(Hungarian()(predictions, targets).image).tolist() == [2, 2]


def test_the_culprit_is_named_once():
    predictions, targets = queries(images=6, groups=3), random_targets(0, (2, 2)).repeat(3)
    predictions.boxes[3, 4, 0] = torch.nan
    matching = Hungarian()
    with pytest.warns(RuntimeWarning, match="first 'l1' of layer 1, image 1 and 'giou' of layer 1, image 1; such"):
        matching(predictions, targets)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        matching(predictions, targets)
    logits = predictions.logits.index_fill(1, torch.tensor([2]), torch.nan)
    with pytest.warns(RuntimeWarning, match="first 'focal' of image 0; such"):
        Hungarian({"focal": 1.0})(replace(predictions, logits=logits, groups=None), targets)


def counts(matches, targets):
    """(B, M) how many samples each target has."""
    return torch.zeros(targets.mask.shape, dtype=torch.long).index_put(
        (matches.image, matches.target), torch.ones_like(matches.image), accumulate=True
    )


@given(seed=seeds, sizes=st.tuples(st.integers(0, 4), st.integers(0, 4)), copies=st.integers(1, 4))
@law
def test_every_target_gets_its_copies_or_as_many_as_there_are_for_all(seed, sizes, copies):
    predictions, targets = queries(seed, samples=9), random_targets(seed, sizes)
    matches = Hungarian(copies=copies)(predictions, targets)
    for image, count in enumerate(sizes):
        assert counts(matches, targets)[image, :count].tolist() == [min(copies, 9 // max(count, 1))] * count
        samples = matches.sample[matches.image == image]
        assert samples.unique().numel() == samples.numel()


@given(seed=seeds, count=st.integers(1, 3), copies=st.integers(2, 3))
@law
def test_copies_cost_the_least_that_repeated_targets_can(seed, count, copies):
    predictions, targets = queries(seed, images=1, samples=7), random_targets(seed, (count,), spare=1)
    matching = Hungarian(copies=copies, share=None)
    cost, matches = matching.cost(predictions, targets), matching(predictions, targets)
    repeated = cost[:, :, :count].repeat(1, 1, copies)
    everything = torch.ones(1, max(repeated.shape), dtype=torch.bool)
    wanted = solve(repeated, everything[:, :7], everything[:, : count * copies])
    total = picked(cost, matches.image, matches.sample, matches.target)
    assert total == pytest.approx(picked(repeated, *wanted), abs=1e-5)
    torch.testing.assert_close(matches.score, (-cost[matches.image, matches.sample, matches.target]).exp())


def test_copies_take_a_share_of_the_valid_samples():
    valid = torch.arange(10) < torch.tensor([[10], [4]])
    predictions, targets = queries(samples=10, valid=valid), random_targets(0, (3, 1), spare=0)
    got = counts(Hungarian(copies=6, share=0.5)(predictions, targets), targets)
    assert got.tolist() == [[1, 1, 1], [2, 0, 0]]


def test_without_a_share_a_target_may_have_all_copies_and_another_no_sample():
    """H-DETR's code, where copies are more than samples."""
    predictions, targets = queries(samples=4), random_targets(0, (4, 1), spare=0)
    near = targets.boxes[0, :1].expand(4, 4)
    predictions = replace(predictions, boxes=torch.stack([near, near]))
    got = counts(Hungarian({"l1": 1.0}, copies=6, share=None)(predictions, targets), targets)
    assert got.tolist() == [[4, 0, 0, 0], [4, 0, 0, 0]]
    got = counts(Hungarian({"l1": 1.0}, copies=6)(predictions, targets), targets)
    assert got.tolist() == [[1, 1, 1, 1], [4, 0, 0, 0]]


def test_fewer_copies_are_handed_on_by_choice_alone():
    """Align-DETR's code, which matches nothing more behind an image with more objects than half of the samples."""
    predictions, targets = queries(images=3, samples=8), random_targets(0, (1, 2, 1), spare=0)
    crowd = random_targets(0, (1, 5, 1), spare=0)
    for carry, wanted, wanted_beside_crowd in ((False, [3, 2, 3], [3, 1, 3]), (True, [3, 2, 2], [3, 0, 0])):
        matching = Hungarian(copies=3, share=0.5, carry=carry)
        assert counts(matching(predictions, targets), targets)[:, 0].tolist() == wanted
        assert counts(matching(predictions, crowd), crowd)[:, 0].tolist() == wanted_beside_crowd


@pytest.mark.parametrize(("final", "wanted"), [(None, [2, 2, 1]), (1, [2, 1, 2])])
def test_the_final_layer_may_have_other_copies(final, wanted):
    predictions, targets = queries(images=3, groups=3, final=final), random_targets(0, (1,)).repeat(3)
    matching = Hungarian(copies=2, final_copies=1)
    assert counts(matching(predictions, targets), targets)[:, 0].tolist() == wanted
    assert matching.cardinality == "one-to-one"


def test_several_copies_are_one_to_many():
    assert Hungarian().cardinality == "one-to-one"
    assert Hungarian(copies=2).cardinality == Hungarian(final_copies=2).cardinality == "one-to-many"


def test_what_padding_holds_is_not_looked_at():
    predictions, targets = queries(), random_targets(0, (3, 2), spare=2)
    wanted = pairs(Hungarian()(predictions, targets))
    targets.boxes[~targets.mask] = torch.nan
    targets.labels[~targets.mask] = 99
    assert pairs(Hungarian()(predictions, targets)) == wanted


def test_targets_need_not_come_before_padding():
    predictions, targets = queries(), random_targets(0, (3, 2), spare=1)
    order = torch.tensor([3, 1, 0, 2])
    parts = {name: getattr(targets, name)[:, order] for name in ("boxes", "labels", "mask")}
    shuffled = pairs(Hungarian()(predictions, replace(targets, **parts)))
    assert {(i, s, order[t].item()) for i, s, t in shuffled} == pairs(Hungarian()(predictions, targets))


def test_the_default_class_cost_follows_the_score_model():
    assert {n: t.weight for n, t in Hungarian().costs.items()} == FOCAL_COSTS
    assert {n: t.weight for n, t in Assigner("hungarian", "focal", "sigmoid").matching.costs.items()} == FOCAL_COSTS
    assert {n: t.weight for n, t in Assigner("hungarian", "focal", "softmax").matching.costs.items()} == SOFTMAX_COSTS
    assert list(Assigner({"type": "hungarian", "costs": {"iou": 1}}, "focal", "softmax").matching.costs) == ["iou"]


@pytest.mark.parametrize(
    ("costs", "sentence"),
    [
        ({}, "matching cost: expected at least one term with its weight"),
        ({"gious": 1}, "unknown matching cost 'gious'; did you mean 'giou'"),
        ({"giou": {"weight": 2, "epsilon": 1e-6}}, "unknown parameter of matching cost 'giou' 'epsilon'"),
    ],
    ids=str,
)
def test_a_mistake_is_answered_in_one_sentence(costs, sentence):
    with pytest.raises(ValueError, match=sentence):
        Hungarian(costs)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [({"copies": 0}, "copies"), ({"final_copies": 0}, "final_copies"), ({"share": 0.0}, "share")],
)
def test_copies_that_make_no_sense_are_refused(arguments, named):
    with pytest.raises(ValueError, match=named):
        Hungarian(**arguments)


def test_boxes_are_compared_as_shares_so_sizes_are_needed():
    targets = replace(random_targets(0, (2, 2)), sizes=None)
    with pytest.raises(ValueError, match="sizes: boxes relative to the image need the targets' image sizes"):
        Hungarian()(queries(), targets)
    assert len(Hungarian({"focal": 1})(queries(), targets).image) == 4


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("focal", 0.75 * 0.7**2 * 1.2039728 * -1 + 0.25 * 0.3**2 * 0.3566749),
        ("softmax", -0.7),
        ("cross_entropy", 0.3566749),
        ("l1", 0.25 + 0.0 + 0.5 + 0.0),
        ("giou", -0.5),
        ("iou", -0.5),
    ],
)
def test_costs_are_these(name, value):
    """P is 0.7 as a sigmoid (alpha 0.25) and as a softmax over two columns."""
    logit = torch.logit(torch.tensor(0.7))
    predictions = Predictions(torch.stack([logit, torch.tensor(0.0)])[None, None], torch.tensor([[[0.0, 0, 32, 64]]]))
    targets = Targets.from_lists([torch.tensor([[0.0, 0, 64, 64]])], [torch.tensor([0])], sizes=torch.full((1, 2), 64))
    assert COSTS.build(name)(predictions, targets).item() == pytest.approx(value, rel=1e-5)

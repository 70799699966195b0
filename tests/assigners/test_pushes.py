from dataclasses import replace

import pytest
import torch
from support.small import one_image, pyramid

from detassign.assigners import Assignment, Matches, Sigmoid, SigmoidObjectness, build
from detassign.assigners.pushes import Entries, Focal, Given

TARGETS = one_image((0, 0, 8, 8, 1), (0, 0, 16, 16, 1), (8, 8, 16, 16, 0))
MATCHES = Matches(torch.zeros(4).long(), torch.tensor([0, 0, 3, 3]), torch.tensor([0, 1, 2, 1]), torch.ones(4))


def predicted(**parts):
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(1, 4, 3, generator=generator, dtype=torch.float64)
    objectness = torch.randn(1, 4, generator=generator, dtype=torch.float64)
    return replace(pyramid((2, 2, 8)), **{"logits": logits, "objectness": objectness, **parts})


def pushes(scores, gamma=2.0, detach=False, keep=1.0):
    """Over four pairs, two of which claim the same class of the same sample."""
    entries = Entries.of(MATCHES, TARGETS, scores)
    values = torch.tensor([3.0, 3.0, 5.0, 7.0], dtype=torch.float64)
    return Focal.around(entries, values, scores, 0.5, gamma, torch.as_tensor(keep, dtype=torch.float64), detach)


def test_an_entry_that_two_pairs_claim_counts_once():
    dense = pushes(Sigmoid()(predicted())).dense
    assert dense[0, 0, 1] == 3
    assert dense[0, 3, :2].tolist() == [5, 7]
    torch.testing.assert_close(dense[0, 1], 0.5 * predicted().logits[0, 1].sigmoid() ** 2)


def test_pairs_of_one_entry_get_one_value():
    entries = Entries.of(MATCHES, TARGETS, Sigmoid()(predicted()))
    values = torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert entries.settled(values, "amin").tolist() == [1, 1, 3, 4]
    assert entries.last(values.flip(0), MATCHES.target).tolist() == [3, 3, 2, 1]
    assert entries.once.tolist() == [True, False, True, True]


@pytest.mark.parametrize("score", [Sigmoid(), SigmoidObjectness(), SigmoidObjectness("probability")])
@pytest.mark.parametrize("detach", [False, True])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_losses_and_gradients_are_those_of_the_whole(score, gamma, detach):
    def answer(way):
        predictions = predicted()
        inputs = predictions.logits.requires_grad_(), predictions.objectness.requires_grad_()
        scores = score(predictions)
        loss = way(pushes(scores, gamma, detach)).losses(scores)
        return loss, *torch.autograd.grad(loss.sum(), inputs, materialize_grads=True)

    for one, other in zip(answer(lambda sparse: sparse), answer(lambda sparse: Given(sparse.dense)), strict=True):
        torch.testing.assert_close(one, other)


def test_samples_that_are_not_kept_have_no_weight():
    keep = torch.tensor([0.0, 1, 0, 1]).view(1, 4, 1)
    assert pushes(Sigmoid()(predicted()), keep=keep).dense.count_nonzero(-1).tolist() == [[0, 3, 0, 3]]


@pytest.mark.parametrize("change", ["times", "without"])
def test_changes_are_those_of_the_tensor(change):
    scores = Sigmoid()(predicted())
    argument = torch.tensor([2.0, 3, 4, 5]) if change == "times" else torch.arange(12).view(1, 4, 3) % 2 == 1
    sparse, dense = pushes(scores), Given(pushes(scores).dense)
    changed, wanted = getattr(sparse, change)(argument), getattr(dense, change)(argument)
    torch.testing.assert_close(changed.dense, wanted.dense, check_dtype=False)
    torch.testing.assert_close(changed.losses(scores), wanted.losses(scores), check_dtype=False)


def test_what_is_no_number_shows_whatever_its_weight():
    for place in ((0, 1, 0), (0, 0, 1)):
        predictions = predicted()
        predictions.logits[place] = torch.nan
        scores = Sigmoid()(predictions)
        assert pushes(scores, keep=torch.zeros(())).losses(scores).isnan().all()
        assert pushes(scores).dense.isfinite().all()


@pytest.mark.parametrize("name", ["dw", "fcos", "gfl", "autoassign", "tal_v8"])
def test_the_loss_never_has_the_whole(name, monkeypatch):
    def refuse(self):
        raise AssertionError("the whole of w⁻ was worked out")

    monkeypatch.setattr(Focal, "dense", property(refuse))
    predictions = replace(predicted(), distribution=torch.randn(1, 4, 4, 17, dtype=torch.float64))
    assert build(name, 3).loss(predictions, TARGETS)["loss_cls_neg"] > 0


def test_an_assignment_takes_a_tensor_or_pushes_and_reads_as_a_tensor():
    sparse = pushes(Sigmoid()(predicted()))
    ones = torch.ones(4)
    assignment = Assignment(MATCHES, ones, sparse, ones, torch.ones(3))
    assert assignment.pushes is sparse
    assert torch.equal(assignment.negative, sparse.dense)
    assert torch.equal(replace(assignment, box=2 * ones).negative, sparse.dense)
    assert torch.equal(Assignment(MATCHES, ones, sparse.dense, ones, torch.ones(3)).negative, sparse.dense)


def test_a_sample_of_several_pairs_counts_once_where_only_matched_ones_count():
    def answer(way):
        predictions = predicted()
        logits = predictions.logits.requires_grad_()
        scores = Sigmoid()(predictions)
        matched = torch.tensor([1.0, 0, 0, 1]).view(1, 4, 1)
        sparse = replace(pushes(scores, keep=matched), among=(MATCHES.image, MATCHES.sample))
        loss = way(sparse).losses(scores)
        return loss, *torch.autograd.grad(loss.sum(), logits)

    for one, other in zip(answer(lambda sparse: sparse), answer(lambda sparse: Given(sparse.dense)), strict=True):
        torch.testing.assert_close(one, other)


def test_a_sample_without_a_scale_shows_what_is_no_number_too():
    predictions = predicted()
    predictions.logits[0, 2, 1] = torch.nan
    scores = Sigmoid()(predictions)
    sparse = replace(pushes(scores, keep=torch.zeros(())), among=(MATCHES.image, MATCHES.sample))
    assert sparse.losses(scores).isnan().all()

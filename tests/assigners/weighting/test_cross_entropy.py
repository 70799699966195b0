"""Cross entropy weighting: a weighted mean over samples, as torch computes it."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.random_batches import built, law, random_batch
from torch.nn.functional import cross_entropy

from detassign.assigners import Assigner

SPEC = "hungarian+cross_entropy+softmax"


@given(seed=st.integers(0, 1000), counts=st.tuples(st.integers(0, 4), st.integers(0, 4)))
@law
def test_the_class_loss_is_torchs_weighted_cross_entropy(seed, counts):
    assigner = built(SPEC)
    predictions, targets = random_batch(assigner, seed, counts)
    assignment, losses = assigner.assign_and_loss(predictions, targets)
    wanted = torch.full(predictions.logits.shape[:2], 3)
    matches = assignment.matches
    wanted[matches.image, matches.sample] = matches.labels(targets)
    mean = cross_entropy(predictions.logits.flatten(0, 1), wanted.flatten(), torch.tensor([1.0, 1.0, 1.0, 0.1]))
    torch.testing.assert_close(losses["loss_cls_pos"], mean)
    assert losses["loss_cls_neg"] == 0


def test_boxes_are_divided_by_the_number_of_targets_also_of_those_without_a_sample():
    assigner = built(SPEC)
    predictions, targets = random_batch(assigner, 0, (90, 3))
    samples = predictions.logits.shape[1]
    assert built(SPEC)(predictions, targets).normalizers[2] == 93
    assert len(assigner.match(predictions, targets).image) == samples + 3


def test_coefficients_scale_their_terms_and_no_normalizer():
    weighting = {"type": "cross_entropy", "no_object": 0.5, "class_scale": 3.0, "box_scale": 2.0}
    plain = Assigner("hungarian", {**weighting, "class_scale": 1.0, "box_scale": 1.0}, "softmax")
    predictions, targets = random_batch(plain)
    once, scaled = (
        plain.loss(predictions, targets),
        Assigner("hungarian", weighting, "softmax").loss(predictions, targets),
    )
    torch.testing.assert_close(scaled["loss_cls_pos"], 3 * once["loss_cls_pos"])
    torch.testing.assert_close(scaled["loss_box"], 2 * once["loss_box"])


def test_samples_that_do_not_count_have_no_background():
    assigner = built(SPEC)
    predictions, targets = random_batch(assigner, counts=(2, 0))
    valid = torch.ones(predictions.logits.shape[:2], dtype=torch.bool)
    valid[:, ::2] = False
    assignment = assigner(replace(predictions, valid=valid), targets)
    assert assignment.background[~valid].count_nonzero() == 0
    assert (assignment.background[1][valid[1]] > 0).all()
    assert assignment.normalizers[0].item() == pytest.approx(assignment.background.sum().item() + 2)


def test_a_batch_in_which_nothing_counts_has_a_loss_of_zero():
    assigner = built(SPEC)
    predictions, targets = random_batch(assigner, counts=(0, 0))
    losses = assigner.loss(replace(predictions, valid=torch.zeros(predictions.logits.shape[:2]).bool()), targets)
    assert sum(losses.values()) == 0

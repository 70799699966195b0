"""What a prediction that is not a number does, and that precision in is not precision lost."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.random_batches import answer, box_terms, built, every_spec, law, random_batch

pytestmark = pytest.mark.filterwarnings("ignore:hungarian. a matching cost is not finite:RuntimeWarning")

seeds = st.integers(0, 10_000)
specs = pytest.mark.parametrize("spec", every_spec())
culprits = st.sampled_from([torch.nan, torch.inf, -torch.inf])


def spoiled(predictions, name, value, seed, share=0.2):
    """A share of the entries of one prediction replaced by `value`."""
    tensor = getattr(predictions, name).clone()
    tensor[torch.rand(tensor.shape, generator=torch.Generator().manual_seed(seed)) < share] = value
    return replace(predictions, **{name: tensor})


@specs
@given(seed=seeds, value=culprits, name=st.sampled_from(["logits", "boxes", "objectness"]))
@law
def test_weights_are_finite_whatever_the_predictions_are(spec, seed, value, name):
    assigner = built(spec)
    predictions, targets = random_batch(assigner, seed)
    assignment = assigner(spoiled(predictions, name, value, seed), targets)
    for weights in (assignment.positive, assignment.negative, assignment.box, assignment.normalizers):
        assert weights.isfinite().all()
        assert (weights >= 0).all()


@specs
def test_predictions_that_are_all_not_a_number_leave_weights_finite(spec):
    assigner = built(spec)
    predictions, targets = random_batch(assigner)
    for name in ("logits", "boxes", "objectness"):
        predictions = spoiled(predictions, name, torch.nan, 0, share=1.1)
    assignment, losses = assigner.assign_and_loss(predictions, targets)
    assert all(w.isfinite().all() for w in (assignment.positive, assignment.negative, assignment.box))
    assert sum(losses.values()).isnan()


@specs
@given(seed=seeds)
@law
def test_a_logit_that_is_not_a_number_shows_in_the_loss(spec, seed):
    assigner = built(spec)
    predictions, targets = random_batch(assigner, seed)
    losses = assigner.loss(spoiled(predictions, "logits", torch.nan, seed), targets)
    assert sum(losses.values()).isnan()


@specs
@given(seed=seeds)
@law
def test_a_matched_box_that_is_not_a_number_shows_in_the_loss(spec, seed):
    """Unless the matching looks at boxes and so no longer picks it."""
    assigner = built(spec)
    predictions, targets = random_batch(assigner, seed)
    matches = assigner.match(predictions, targets)
    predictions.boxes[matches.image[:1], matches.sample[:1], 1] = torch.nan
    assignment, losses = assigner.assign_and_loss(predictions, targets)
    still_matched = assignment.matches.predicted_boxes(predictions).isnan().any()
    assert box_terms(losses).isnan() == still_matched
    assert still_matched == (len(matches.image) > 0) or assigner.cardinality == "one-to-one"


@specs
def test_a_broken_prediction_leaves_the_pairs_of_other_images_alone(spec):
    assigner = built(spec)
    predictions, targets = random_batch(assigner, counts=(3, 3))
    table = answer(assigner, predictions, targets)[0]
    for name in ("logits", "boxes", "objectness"):
        getattr(predictions, name)[0] = torch.nan
    assert torch.equal(answer(assigner, predictions, targets)[0][1], table[1])


def in_type(predictions, dtype):
    parts = ("logits", "boxes", "objectness", "points", "strides")
    return replace(predictions, **{name: getattr(predictions, name).to(dtype) for name in parts})


@specs
@given(seed=seeds, dtype=st.sampled_from([torch.float16, torch.bfloat16]))
@law
def test_half_precision_in_equals_its_rounding_in_float32(spec, seed, dtype):
    assigner = built(spec)
    predictions, targets = random_batch(assigner, seed)
    half = in_type(predictions, dtype)
    half_targets = targets.to("cpu", dtype)
    got = answer(assigner, half, half_targets)
    wanted = answer(assigner, in_type(half, torch.float32), half_targets.to("cpu", torch.float32))
    for ours, theirs in zip(got, wanted, strict=True):
        assert ours.dtype == torch.float32
        assert torch.equal(ours, theirs)


@specs
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_step_under_autocast_equals_the_step_without(spec, dtype):
    assigner = built(spec)
    predictions, targets = random_batch(assigner)
    wanted = answer(assigner, predictions, targets)
    with torch.autocast("cpu", dtype):
        got = answer(assigner, predictions, targets)
        matches = assigner.match(predictions, targets)
        assignment = assigner(predictions, targets)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(got, wanted, strict=True))
    assert torch.equal(matches.sample, assignment.matches.sample)
    assert assignment.negative.dtype == torch.float32


@specs
@pytest.mark.parametrize("dtype", [torch.int64, torch.float64])
def test_targets_may_come_in_any_type_of_number(spec, dtype):
    assigner = built(spec)
    predictions, targets = random_batch(assigner)
    whole = replace(targets, boxes=targets.boxes.round(), labels=targets.labels.int())
    other = replace(whole, boxes=whole.boxes.to(dtype), labels=whole.labels.long(), sizes=whole.sizes.to(dtype))
    got = answer(assigner, predictions, other)
    assert all(torch.equal(o, t) for o, t in zip(got, answer(assigner, predictions, whole), strict=True))


@specs
def test_double_precision_in_gives_double_precision_out(spec):
    assigner = built(spec).double()
    predictions, targets = random_batch(assigner)
    losses = assigner.loss(in_type(predictions, torch.float64), targets)
    single = built(spec).loss(predictions, targets)
    for name, value in losses.items():
        assert value.dtype == torch.float64
        torch.testing.assert_close(value.float(), single[name], rtol=1e-4, atol=1e-5)

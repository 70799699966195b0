"""Batches that no example shows and every training meets: nothing there, too much there, boxes that are none."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.random_batches import (
    SIDE,
    answer,
    box_terms,
    built,
    every_spec,
    law,
    leaves,
    random_batch,
    random_predictions,
    random_targets,
)

from detassign.assigners import Targets

seeds = st.integers(0, 10_000)
specs = pytest.mark.parametrize("spec", every_spec())


def check_sound(assigner, predictions, targets):
    """Weights finite and not negative, pairs real, losses and gradients finite; returns the pair table and the losses."""
    predictions = leaves(predictions)
    assignment, losses = assigner.assign_and_loss(predictions, targets)
    for weights in (assignment.positive, assignment.negative, assignment.box):
        assert weights.isfinite().all()
        assert (weights >= 0).all()
    matches = assignment.matches
    assert targets.mask[matches.image, matches.target].all()
    assert assignment.normalizers.isfinite().all()
    assert all(value.isfinite() for value in losses.values())
    sum(losses.values()).backward()
    for name in connected(assigner):
        assert getattr(predictions, name).grad.isfinite().all(), name
    return assignment, losses


def pushed_down(assignment):
    """How strongly every sample is pushed away from the classes, by w⁻ or towards a background."""
    return assignment.negative if assignment.background is None else assignment.background


def connected(assigner):
    """Names of the predictions that the loss must reach."""
    return ["logits", "boxes", *(["objectness"] if assigner.score.uses_objectness else [])]


@specs
def test_random_batches_have_pairs_to_speak_about(spec):
    assigner = built(spec)
    assignment, _ = check_sound(assigner, *random_batch(assigner, counts=(4, 4)))
    assert len(assignment.matches.image) >= 4
    assert (assignment.positive > 0).any()
    assert (assignment.box > 0).any()


@specs
@given(seed=seeds, count=st.integers(1, 5))
@law
def test_an_empty_image_only_pushes_down(spec, seed, count):
    assigner = built(spec)
    predictions, targets = random_batch(assigner, seed, (0, count))
    assignment, _ = check_sound(assigner, predictions, targets)
    assert (assignment.matches.image == 1).all()
    assert (pushed_down(assignment)[0] > 0).all()


@specs
@given(seed=seeds, images=st.integers(1, 3), spare=st.integers(0, 2))
@law
def test_a_batch_without_objects_reaches_every_prediction(spec, seed, images, spare):
    assigner = built(spec)
    targets = random_targets(seed, (0,) * images, spare)
    predictions = leaves(random_predictions(assigner, targets, seed))
    assignment, losses = assigner.assign_and_loss(predictions, targets)
    assert len(assignment.positive) == 0
    assert box_terms(losses) == 0
    assert losses["loss_cls_neg" if assignment.background is None else "loss_cls_pos"] > 0
    sum(losses.values()).backward()
    for name in connected(assigner):
        assert getattr(predictions, name).grad is not None, name
    assert predictions.boxes.grad.count_nonzero() == 0
    assert predictions.logits.grad.count_nonzero() > 0


@specs
@given(seed=seeds)
@law
def test_more_targets_than_samples_is_no_trouble(spec, seed):
    assigner = built(spec)
    predictions, targets = random_batch(assigner, seed, (100,))
    assert targets.mask.sum() > predictions.logits.shape[1]
    check_sound(assigner, predictions, targets)


@specs
@given(seed=seeds, count=st.integers(1, 3))
@law
def test_duplicate_boxes_are_defined(spec, seed, count):
    assigner = built(spec)
    predictions, targets = random_batch(assigner, seed, (count,))
    parts = {name: torch.cat([getattr(targets, name)] * 2, 1) for name in ("boxes", "labels", "mask")}
    twice = replace(targets, **parts)
    check_sound(assigner, predictions, twice)
    other_class = replace(twice, labels=torch.cat([targets.labels, (targets.labels + 1) % 3], 1))
    check_sound(assigner, predictions, other_class)


ODD_BOXES = {
    "a point": [20.0, 20.0, 20.0, 20.0],
    "a point under a sample": [4.0, 4.0, 4.0, 4.0],
    "no width": [20.0, 10.0, 20.0, 40.0],
    "inside out": [40.0, 40.0, 10.0, 10.0],
    "inverted in one direction": [40.0, 10.0, 10.0, 40.0],
    "outside the image": [200.0, 200.0, 260.0, 240.0],
    "left of the image": [-90.0, 10.0, -30.0, 50.0],
    "partly outside": [-30.0, -30.0, 30.0, 30.0],
    "much larger than the image": [-1e4, -1e4, 1e4, 1e4],
    "smaller than any cell": [3.9, 3.9, 4.1, 4.1],
    "between the samples": [6.0, 6.0, 9.0, 9.0],
    "the whole image": [0.0, 0.0, SIDE, SIDE],
}


@pytest.fixture
def _unwatched(monkeypatch):
    """As on a GPU, where nobody looks at boxes: what is refused elsewhere must be defined there."""
    monkeypatch.setattr(Targets, "check_boxes", lambda targets: None)


@specs
@pytest.mark.usefixtures("_unwatched")
@pytest.mark.parametrize("kind", ODD_BOXES)
def test_an_odd_box_is_defined(spec, kind):
    assigner = built(spec)
    predictions, targets = random_batch(assigner, counts=(3, 2))
    targets.boxes[0, 1] = torch.tensor(ODD_BOXES[kind])
    check_sound(assigner, predictions, targets)
    alone = {"boxes": targets.boxes[:, 1:2], "labels": targets.labels[:, 1:2], "mask": torch.tensor([[True], [False]])}
    check_sound(assigner, predictions, replace(targets, **alone))


@specs
@pytest.mark.parametrize("kind", ODD_BOXES)
def test_an_odd_box_is_refused_where_it_is_inside_out(spec, kind):
    assigner = built(spec)
    predictions, targets = random_batch(assigner, counts=(3, 2))
    targets.boxes[1, 1] = torch.tensor(ODD_BOXES[kind])
    if kind in ("inside out", "inverted in one direction"):
        with pytest.raises(ValueError, match=r"boxes: expected finite x1, y1, x2, y2 .* got \[40.0, .* in image 1"):
            assigner.loss(predictions, targets)
    else:
        check_sound(assigner, predictions, targets)


@specs
@pytest.mark.usefixtures("_unwatched")
@pytest.mark.parametrize(
    "kind", ["a point", "no width", "inside out", "inverted in one direction", "outside the image"]
)
def test_a_box_that_holds_no_part_of_the_image_takes_no_sample_from_another(spec, kind):
    assigner = built(spec)
    predictions, targets = random_batch(assigner, counts=(3,))
    table = answer(assigner, predictions, targets)[0]
    targets.boxes[0, 3], targets.mask[0, 3] = torch.tensor(ODD_BOXES[kind]), True
    with_odd_one = answer(assigner, predictions, targets)[0]
    if assigner.cardinality == "one-to-one":  # every target gets a sample, whatever it is: the others still do
        assert (with_odd_one[..., 0].sum(1) == 1).all()
    else:
        assert torch.equal(with_odd_one[:, :, :3, 0], table[:, :, :3, 0])


@specs
@pytest.mark.parametrize("kind", ODD_BOXES)
def test_an_odd_predicted_box_is_defined(spec, kind):
    assigner = built(spec)
    predictions, targets = random_batch(assigner, counts=(3, 2))
    predictions.boxes[:, ::3] = torch.tensor(ODD_BOXES[kind])
    check_sound(assigner, predictions, targets)


@specs
@pytest.mark.parametrize("logit", [-120.0, -88.0, 88.0, 120.0, 1e4])
def test_saturated_logits_are_defined(spec, logit):
    assigner = built(spec)
    predictions, targets = random_batch(assigner, counts=(3, 2))
    predictions.logits[:, ::2] = logit
    predictions.objectness[:, ::3] = logit
    check_sound(assigner, predictions, targets)

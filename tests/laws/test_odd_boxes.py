"""Boxes of objects that are inside out: refused where somebody looks, and defined where nobody does."""

import pytest
import torch
from support.random_batches import answer, built, every_spec, random_batch

from detassign.assigners import Targets
from detassign.assigners.laws.unusual import check_sound, check_undisturbed

INSIDE_OUT = {"inside out": [40.0, 40.0, 10.0, 10.0], "inverted in one direction": [40.0, 10.0, 10.0, 40.0]}
specs = pytest.mark.parametrize("spec", every_spec())
kinds = pytest.mark.parametrize("kind", INSIDE_OUT)


@pytest.fixture
def _unwatched(monkeypatch):
    """As on a GPU, where nobody looks at boxes: what is refused elsewhere must be defined there."""
    monkeypatch.setattr(Targets, "check_boxes", lambda targets: None)


@specs
@kinds
def test_a_box_that_is_inside_out_is_refused(spec, kind):
    assigner = built(spec)
    predictions, targets = random_batch(assigner, counts=(3, 2))
    targets.boxes[1, 1] = torch.tensor(INSIDE_OUT[kind])
    with pytest.raises(ValueError, match=r"boxes: expected finite x1, y1, x2, y2 .* got \[40.0, .* in image 1"):
        assigner.loss(predictions, targets)


@specs
@kinds
@pytest.mark.usefixtures("_unwatched")
def test_a_box_that_is_inside_out_is_defined_where_nobody_looks(spec, kind):
    assigner = built(spec)
    predictions, targets = random_batch(assigner, counts=(3, 2))
    targets.boxes[0, 1] = torch.tensor(INSIDE_OUT[kind])
    check_sound(assigner, predictions, targets, kind)


@specs
@kinds
@pytest.mark.usefixtures("_unwatched")
def test_a_box_that_is_inside_out_takes_no_sample_from_another(spec, kind):
    assigner = built(spec)
    predictions, targets = random_batch(assigner, counts=(3,))
    table = answer(assigner, predictions, targets)[0]
    targets.boxes[0, 3], targets.mask[0, 3] = torch.tensor(INSIDE_OUT[kind]), True
    check_undisturbed(assigner, table, answer(assigner, predictions, targets)[0], kind)

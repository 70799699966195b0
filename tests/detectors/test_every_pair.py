"""Every matching under every weighting, on a dense head, on a decoder and on an encoder's proposals: trained and evaluated."""

from itertools import product

import pytest
import torch
from support.dense_detector import dense_detector
from support.query import batch, detector, total

from detassign.assigners import MATCHINGS, WEIGHTINGS, build

MODELS = {
    "fcos": lambda spec: dense_detector(spec, classes=4),
    "deformable_detr decoder": lambda spec: detector("deformable_detr", denoising="none", assigner=spec),
    "dino encoder": lambda spec: detector(
        "dino_4scale", denoising="none", assigner={"type": "hungarian", "encoder": spec}
    ),
}
HOMES = {"fcos": "fcos", "deformable_detr decoder": "deformable_detr", "dino encoder": "hungarian"}


def refused(spec, home):
    """Why two parts cannot work together at all, or None."""
    try:
        build(spec, 4, home)
    except ValueError as error:
        return str(error)
    return None


def model_of(place, spec):
    """A detector, or None where its head does not provide what the parts need, which it says."""
    try:
        return MODELS[place](spec)
    except ValueError as error:
        if "needs" not in str(error):
            raise
    return None


def trained(model, spec):
    """The model after two steps on a batch in which an image has no objects."""
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    model.train()
    for step in range(2):
        losses = model.loss(*batch(3, 0, seed=step))
        optimizer.zero_grad()
        total(losses).backward()
        optimizer.step()
        broken = [name for name, value in losses.items() if not value.isfinite().all()]
        assert not broken, f"{spec}: {broken}"
    return model


@pytest.mark.parametrize("matching", list(MATCHINGS))
@pytest.mark.parametrize("place", list(HOMES))
def test_every_weighting_trains_what_it_matches(place, matching):
    for weighting in WEIGHTINGS:
        spec = f"{matching}+{weighting}"
        model = None if refused(spec, HOMES[place]) else model_of(place, spec)
        if model is None:
            continue
        before = [parameter.detach().clone() for parameter in model.parameters()]
        trained(model, spec)
        assert all(parameter.isfinite().all() for parameter in model.parameters()), spec
        assert any(not torch.equal(*pair) for pair in zip(before, model.parameters(), strict=True)), spec
        model.eval()
        with torch.no_grad():
            found = model.predict(*batch(2, 1))
        assert all(each.pred_instances.scores.isfinite().all() for each in found), spec


@pytest.mark.parametrize("home", list(HOMES.values()))
def test_nearly_all_pairs_are_legal(home):
    specs = [f"{matching}+{weighting}" for matching, weighting in product(MATCHINGS, WEIGHTINGS)]
    reasons = {spec: refused(spec, home) for spec in specs if refused(spec, home)}
    assert len(reasons) <= 0.1 * len(specs), reasons

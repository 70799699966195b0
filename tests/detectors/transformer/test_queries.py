"""Where queries start."""

import pytest
import torch
from support.query import batch, detector

from detassign.assigners import Predictions
from detassign.heads import QueryHead


@pytest.mark.parametrize(("assigner", "same_order"), [("hungarian", False), ("detr", True)])
def test_tokens_are_ranked_by_probability(assigner, same_order):
    """What is added to all logits of a token changes no probability of a softmax, and every one of sigmoids."""
    head = QueryHead(4, assigner, channels=8, layers=1, encoder="classes")
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 30, head.encoder_class.out_features, generator=generator)
    moved = logits + 5 * torch.randn(1, 30, 1, generator=generator)
    order, after = (head.ranking(values).amax(-1).argsort(-1) for values in (logits, moved))
    assert torch.equal(order, after) is same_order
    probability = head.assigner.score(Predictions(logits, torch.zeros(1, 30, 4))).probability.amax(-1)
    assert torch.equal(order, probability.argsort(-1))


def test_points_that_become_boxes_may_be_normed_between_layers():
    """References are points for the first layer and boxes for the others."""
    model = detector("deformable_detr_refine", "none")
    model.decoder.norm = torch.nn.LayerNorm(model.encoder.channels)
    losses = model.loss(*batch(2, 1))
    sum(losses.values()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.decoder.parameters())

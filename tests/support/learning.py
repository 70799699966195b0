"""Whether a model learns under an assigner: a few steps on one batch."""

import math

import torch


def falls(model, loss, steps=6, rate=1e-3):
    """The losses of each step, all finite, of which the last is the least but for noise; every trained weight had a gradient.

    Args:
        model: in training mode.
        loss: () -> its loss, a scalar, of the same batch every time.
    """
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, rate)
    found = []
    for _ in range(steps):
        optimizer.zero_grad()
        value = loss()
        value.backward()
        found.append(value.item())
        optimizer.step()
    assert all(map(math.isfinite, found)), found
    assert found[-1] < found[0], found
    return found


def unreached(model):
    """Names of weights that should learn and have no gradient, or nothing but zeros."""
    trained = ((name, weight) for name, weight in model.named_parameters() if weight.requires_grad)
    return {name for name, weight in trained if weight.grad is None or not weight.grad.abs().sum() > 0}

"""Training steps of small detectors, for comparing them between devices."""

import copy

import torch

from .query import batch, total


def packed(*counts, size=(64, 96)):
    """A batch as the loader hands it over: images of their own sizes, uint8, and samples, on the host."""
    images, samples = batch(*counts, size=size)
    pixels = [(image * 255).to(torch.uint8) for image in images]
    cut = [
        image[:, : sample.img_shape[0], : sample.img_shape[1]] for image, sample in zip(pixels, samples, strict=True)
    ]
    return {"inputs": cut, "data_samples": samples}


def step_of(model, data):
    """The losses of a training step and the gradients that it leaves."""
    torch.manual_seed(1)
    prepared = model.data_preprocessor(copy.deepcopy(data), True)
    losses = model.loss(prepared["inputs"], prepared["data_samples"])
    total(losses).backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.requires_grad}
    return losses, gradients

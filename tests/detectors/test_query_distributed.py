"""Two processes, one of them without any object, learn what one process learns from the joint batch."""

from functools import partial

import pytest
import torch
from support.distributed import gradients_of_ranks
from support.query import batch, detector, total

EXACT = {"denoising": {"type": "dn", "groups": 2, "label_noise": 0.0, "box_noise": 0.0}}


EXTRA = {
    "groups": {"k": 2},
    "branch": {"queries": 8, "repeat": 2},
    "path": {},
    "mixed": {"hidden": 8},
    "collaborative": {"norm_groups": 4},
}


def noiseless(family, **choices):
    """A detector whose denoising draws nothing, so that one process and two see the same."""
    model = detector(family, "dn", **choices)
    model.denoising.denoise.label_noise = model.denoising.denoise.box_noise = 0.0
    return model.double()


@pytest.mark.parametrize("family", ["detr", "dn_detr", "dino_4scale", "deformable_detr_two_stage"])
def test_gradients_of_two_processes_equal_those_of_the_joint_batch(family, tmp_path):
    """Without looking for unused parameters; sums are divided by what all processes have."""
    check_equal(partial(noiseless, family), tmp_path)


@pytest.mark.parametrize("assigner", ["hungarian", "atss+focal", "center_prior+focal"])
def test_so_do_those_of_everything_that_training_adds(assigner, tmp_path):
    """Under matchings of every cardinality; few samples of little weight would reach the floor of a normaliser instead."""
    check_equal(partial(noiseless, "dino_4scale", assigner=assigner, extra=EXTRA), tmp_path)


def check_equal(make, tmp_path):
    images, samples = batch(3, 0)
    images = images.double()
    parts = [(images[i : i + 1], samples[i : i + 1]) for i in range(2)]
    torch.manual_seed(0)
    joint = make()
    total(joint.loss(images, samples)).backward()
    averaged = gradients_of_ranks(make, parts, tmp_path)
    for name, parameter in joint.named_parameters():
        if not parameter.requires_grad:
            continue
        scale = parameter.grad.abs().max().clamp(min=1e-3)
        torch.testing.assert_close(averaged[name] / scale, parameter.grad / scale, rtol=1e-3, atol=2e-4)

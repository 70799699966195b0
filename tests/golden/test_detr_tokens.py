"""What the transformer knows of its tokens: which are padding, where they are, what they propose."""

import math

import numpy as np
import pytest
import torch
from support.golden import cases

from detassign.detectors.transformer.guides import on_levels
from detassign.detectors.transformer.memory import Memory, valid_lines
from detassign.detectors.transformer.proposals import token_boxes


def memory_of(case):
    """The recorded tokens, unencoded and without positions."""
    features, valid = case.tensor("memory"), [~mask for mask in case.levels("mask")]
    shapes = tuple(tuple(shape) for shape in case.tensor("spatial_shapes").tolist())
    rows, columns = (tuple(level.any(axis) for level in valid) for axis in (2, 1))
    return Memory(features, torch.zeros_like(features), shapes, rows, columns, padded=True, shape=(64, 64))


def check(case, key, value):
    np.testing.assert_allclose(value.numpy(), case.arrays[key], **case.sidecar["recommended"]["all"], err_msg=key)


@pytest.mark.parametrize("case", cases("detr/components", "padding_mask"))
def test_padding_of_every_stride_equals_the_original(case):
    """Nearest-neighbour samples of the full resolution."""
    height, width = case.arrays["mask"].shape[1:]
    sizes = case.tensor("sizes_hw")
    keys = [key for key in case.arrays if key.startswith("mask")]
    assert len(keys) > 1
    for key in keys:
        stride = int(key.removeprefix("mask_stride")) if key != "mask" else 1
        rows = valid_lines(sizes[:, 0], height, math.ceil(height / stride))
        columns = valid_lines(sizes[:, 1], width, math.ceil(width / stride))
        np.testing.assert_array_equal(~(rows[:, :, None] & columns[:, None]).numpy(), case.arrays[key], err_msg=key)


@pytest.mark.parametrize("case", cases("detr/components", "encoder_proposals_*"))
def test_proposals_of_tokens_equal_the_original(case):
    """Boxes, infinite where void, and tokens, zero there. DINO's learned size of them is not offered."""
    memory = memory_of(case)
    boxes, void = token_boxes(memory)
    np.testing.assert_array_equal(memory.padding.numpy(), case.arrays["padding_mask"])
    check(case, "output_proposals_unsigmoid", boxes)
    check(case, "output_memory", memory.features.masked_fill(void, 0.0))


@pytest.mark.parametrize("case", cases("detr/components", "encoder_proposals_*"))
def test_places_of_tokens_equal_the_original(case):
    """Valid shares of the levels, and each token's centre as seen on every level."""
    memory = memory_of(case)
    check(case, "valid_ratios", memory.valid_ratios)
    check(case, "encoder_reference_points", on_levels(memory.centers, memory))

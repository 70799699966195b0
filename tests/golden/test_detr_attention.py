"""The deformable attention module of Deformable DETR and DINO, in double precision."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support.golden import cases, named_cases

from detassign.detectors.transformer.deformable import DeformableAttention

INITIAL = re.compile(r"h(\d+)_l(\d+)_p(\d+)/sampling_offsets\.bias")


@pytest.mark.parametrize(("case", "name"), named_cases("detr/components", "ms_deform_attn_module_*"))
def test_module_and_its_gradients_equal_the_original(case, name):
    """Around points and in boxes, with padding; gradients of all inputs and parameters."""
    settings = case.sidecar["cases"][name]
    attention = DeformableAttention(
        settings["d_model"], settings["heads"], levels=len(settings["shapes"]), points=settings["points"]
    ).double()
    state = {key: case.tensor(f"{name}/state_dict/{key}") for key in attention.state_dict()}
    attention.load_state_dict(state)
    memory = SimpleNamespace(
        padding=case.tensor(f"{name}/padding_mask"),
        spatial_shapes=case.tensor(f"{name}/spatial_shapes"),
        level_starts=case.tensor(f"{name}/level_start_index"),
        level_shapes=case.tensor(f"{name}/spatial_shapes").tolist(),
    )
    inputs = {key: case.leaf(f"{name}/{key}") for key in ("query", "reference_points", "input_flatten")}
    output = attention(*inputs.values(), memory)
    output.backward(case.tensor(f"{name}/grad_output"))
    tolerance = case.sidecar["recommended"]["float64"]
    results = {"output": output.detach()}
    results |= {f"grad_{key}": value.grad for key, value in inputs.items()}
    results |= {f"grad_param/{key}": value.grad for key, value in attention.named_parameters()}
    for key, value in results.items():
        np.testing.assert_allclose(value.numpy(), case.arrays[f"{name}/{key}"], **tolerance, err_msg=key)


@pytest.mark.parametrize("case", cases("detr/components", "ms_deform_attn_init_*"))
def test_initial_offsets_equal_the_original(case):
    """Offsets' biases as recorded; everything else that the original sets to zero is zero."""
    for key, recorded in case.arrays.items():
        heads, levels, points = map(int, INITIAL.fullmatch(key).groups())
        attention = DeformableAttention(4 * heads, heads, levels=levels, points=points)
        bias = attention.sampling_offsets.bias.detach().numpy()
        np.testing.assert_allclose(bias, recorded, **case.sidecar["recommended"]["all"])
        zero = (attention.sampling_offsets.weight, *attention.attention_weights.parameters())
        zero += (attention.value_proj.bias, attention.output_proj.bias)
        assert not any(torch.any(parameter) for parameter in zero)

import torch
from mmcv.ops import MultiScaleDeformableAttention
from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction, multi_scale_deformable_attn_pytorch
from torch.autograd import gradcheck

SHAPES, STARTS = torch.tensor([[6, 4], [3, 2]]), torch.tensor([0, 24])


def inputs(dtype=torch.float64) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    value = torch.rand(2, 30, 2, 4, generator=generator)
    locations = torch.rand(2, 3, 2, 2, 2, 2, generator=generator) * 1.4 - 0.2  # some outside the maps
    weights = torch.rand(2, 3, 2, 2, 2, generator=generator)
    return [tensor.to(dtype).requires_grad_() for tensor in (value, locations, weights)]


def test_output_and_gradients_equal_those_of_mmcvs_own_python_form():
    value, locations, weights = leaves = inputs()
    ours = MultiScaleDeformableAttnFunction.apply(value, SHAPES, STARTS, locations, weights, 64)
    theirs = multi_scale_deformable_attn_pytorch(value, SHAPES, locations, weights)
    torch.testing.assert_close(ours, theirs)
    upstream = torch.rand_like(ours)
    for mine, other in zip(*(torch.autograd.grad(output, leaves, upstream) for output in (ours, theirs)), strict=True):
        torch.testing.assert_close(mine, other)


def test_gradients_are_those_of_the_attention():
    def attend(value, locations, weights):
        return MultiScaleDeformableAttnFunction.apply(value, SHAPES, STARTS, locations, weights, 64)

    assert gradcheck(attend, inputs())


def test_half_precision_values_come_back_in_half():
    value, locations, weights = inputs(torch.float32)
    output = MultiScaleDeformableAttnFunction.apply(value.half(), SHAPES, STARTS, locations, weights, 64)
    output.sum().backward()
    assert output.dtype == torch.float16
    assert torch.isfinite(value.grad).all()


def test_mmcvs_layer_runs_forward_and_backward():
    layer = MultiScaleDeformableAttention(embed_dims=8, num_heads=2, num_levels=2, num_points=2, batch_first=True)
    query, value = torch.rand(1, 5, 8), torch.rand(1, 30, 8)
    points = torch.rand(1, 5, 2, 2)
    output = layer(query, value=value, reference_points=points, spatial_shapes=SHAPES, level_start_index=STARTS)
    output.sum().backward()
    assert output.shape == (1, 5, 8)
    assert layer.value_proj.weight.grad.abs().sum() > 0

"""Multi-scale deformable attention in the calling convention of ``mmcv._ext``, served by ``detassign.ops``."""

from torch import Tensor

from ..ops.ms_deform_attn import ms_deform_attn
from ..ops.ms_deform_attn import ms_deform_attn_backward as backward

__all__ = ["ms_deform_attn_backward", "ms_deform_attn_forward"]


def ms_deform_attn_forward(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    im2col_step: int,
) -> Tensor:
    """``detassign.ops.ms_deform_attn``; ``im2col_step``, images per step in mmcv's kernel, has no effect here.

    Args:
        value: (B, S, H, D).
        value_spatial_shapes: (L, 2) height and width.
        value_level_start_index: (L,).
        sampling_locations: (B, Q, H, L, P, 2) xy, fractions of the map.
        attention_weights: (B, Q, H, L, P).
        im2col_step: ignored.

    Returns:
        (B, Q, H * D).
    """
    return ms_deform_attn(value, value_spatial_shapes, value_level_start_index, sampling_locations, attention_weights)


def ms_deform_attn_backward(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    grad_output: Tensor,
    grad_value: Tensor,
    grad_sampling_loc: Tensor,
    grad_attn_weight: Tensor,
    im2col_step: int,
) -> None:
    """Write the gradients of value, locations and weights into the last three tensors before ``im2col_step``."""
    gradients = backward(
        grad_output, value, value_spatial_shapes, value_level_start_index, sampling_locations, attention_weights
    )
    for buffer, gradient in zip((grad_value, grad_sampling_loc, grad_attn_weight), gradients, strict=True):
        buffer.copy_(gradient)

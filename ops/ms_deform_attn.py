"""Multi-scale deformable attention: every query reads a few bilinear samples from each pyramid level.

Zhu et al., "Deformable DETR" (2021), equation 3. This is the pure-torch form: it runs on any device, is differentiable
in values, locations and weights, and is the reference a compiled kernel is measured against.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["ms_deform_attn"]


def ms_deform_attn(
    value: Tensor,
    spatial_shapes: Tensor,
    level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
) -> Tensor:
    """Sum, over levels and points, of attention weight times the value sampled at that location.

    A location (x, y) is a fraction of the level's width and height, so that pixel centres lie at (j + 0.5) / width;
    what lies outside the map counts as zero. Arithmetic runs in the wider of the two dtypes of ``value`` and
    ``sampling_locations``, since half precision cannot address the pixels of a large map.

    Args:
        value: (B, S, H, D), the L maps flattened row by row and concatenated, S = sum of height * width; float.
        spatial_shapes: (L, 2) int, height and width of each level. Read on the host once per call.
        level_start_index: (L,) int, where each level begins among the S values.
        sampling_locations: (B, Q, H, L, P, 2) xy, fractions of the map.
        attention_weights: (B, Q, H, L, P), usually a softmax over L * P; used as they are.

    Returns:
        (B, Q, H * D) in the dtype of ``value``.

    Raises:
        ValueError: when shapes do not agree or a level reaches beyond the S values.

    Example:
        >>> value = torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 4, 1, 1)  # one level of 2 x 2
        >>> centre = torch.full((1, 1, 1, 1, 1, 2), 0.5)
        >>> shapes, start = torch.tensor([[2, 2]]), torch.tensor([0])
        >>> ms_deform_attn(value, shapes, start, centre, torch.ones(1, 1, 1, 1, 1)).item()
        2.5
    """
    _check_shapes(value, spatial_shapes, level_start_index, sampling_locations, attention_weights)
    B, S, H, D = value.shape
    Q = sampling_locations.shape[1]
    levels = _levels(spatial_shapes, level_start_index, S)
    dtype = torch.promote_types(value.dtype, sampling_locations.dtype)
    grids = 2 * sampling_locations.to(dtype) - 1  # grid_sample counts from -1 to 1
    output = value.new_zeros((B * H, D, Q), dtype=dtype)
    for level, (start, height, width) in enumerate(levels):
        level_map = value[:, start : start + height * width].to(dtype)
        level_map = level_map.permute(0, 2, 3, 1).reshape(B * H, D, height, width)
        sampled = _sample(level_map, _heads_first(grids[:, :, :, level]))  # (B * H, D, Q, P)
        weights = _heads_first(attention_weights[:, :, :, level].to(dtype))  # (B * H, Q, P)
        output = output + (sampled * weights.unsqueeze(1)).sum(-1)
    return output.view(B, H * D, Q).transpose(1, 2).contiguous().to(value.dtype)


def _heads_first(tensor: Tensor) -> Tensor:
    """(B, Q, H, ...) -> (B * H, Q, ...)."""
    return tensor.transpose(1, 2).flatten(0, 1)


def _sample(level_map: Tensor, grid: Tensor) -> Tensor:
    return F.grid_sample(level_map, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _levels(spatial_shapes: Tensor, level_start_index: Tensor, length: int) -> list[tuple[int, int, int]]:
    """Start, height and width of each level, checked against the number of values."""
    starts_and_sizes = torch.cat((level_start_index.view(-1, 1), spatial_shapes), dim=1).tolist()
    for level, (start, height, width) in enumerate(starts_and_sizes):
        if min(start, height - 1, width - 1) < 0 or start + height * width > length:
            raise ValueError(
                f"spatial_shapes and level_start_index must lie within the {length} values, "
                f"but level {level} starts at {start} and is {height} x {width}"
            )
    return [tuple(level) for level in starts_and_sizes]


def _check_shapes(
    value: Tensor,
    spatial_shapes: Tensor,
    level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
) -> None:
    if value.dim() != 4:
        raise ValueError(f"value must be of shape (B, S, H, D), got {tuple(value.shape)}")
    if spatial_shapes.dim() != 2 or spatial_shapes.shape[1] != 2:
        raise ValueError(f"spatial_shapes must be of shape (L, 2), got {tuple(spatial_shapes.shape)}")
    B, _, H, _ = value.shape
    L = spatial_shapes.shape[0]
    if tuple(level_start_index.shape) != (L,):
        raise ValueError(f"level_start_index must be of shape ({L},), got {tuple(level_start_index.shape)}")
    shape = tuple(sampling_locations.shape)
    if len(shape) != 6 or (shape[0], shape[2], shape[3], shape[5]) != (B, H, L, 2):
        raise ValueError(f"sampling_locations must be of shape ({B}, Q, {H}, {L}, P, 2), got {shape}")
    if tuple(attention_weights.shape) != shape[:-1]:
        raise ValueError(f"attention_weights must be of shape {shape[:-1]}, got {tuple(attention_weights.shape)}")

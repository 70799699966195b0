"""Multi-scale deformable attention: every query reads a few bilinear samples from each pyramid level.

Zhu et al., "Deformable DETR" (2021), equation 3. Beside the kernels stands the pure-torch form that people fall back on
elsewhere: it runs on any device and is what the kernels are tested against. Both have first derivatives in reverse mode;
within ``portable_ops()`` the op is spelt out in gathers, which are differentiable any number of times, in either mode.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ._forward_mode import refuse_tangents
from ._library import has_kernels, tell_missing
from ._ms_deform_attn_onnx import attend_in_gathers
from ._portable import portable, whole
from .transfer import to_device

__all__ = ["ms_deform_attn", "ms_deform_attn_backward", "ms_deform_attn_reference"]

FAR = 2.0  # outside every map


def ms_deform_attn(
    value: Tensor,
    spatial_shapes: Tensor,
    level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    level_shapes: Sequence[tuple[int, int]] | None = None,
) -> Tensor:
    """Sum, over levels and points, of attention weight times the value sampled at that location.

    A location (x, y) is a fraction of the level's width and height, so that pixel centres lie at (j + 0.5) / width;
    cells outside the map count as zero. A sample that reaches no cell, as one whose location is not finite, adds
    nothing and has no gradient, whatever its weight. Arithmetic runs in the widest of the three dtypes and at least in
    float32, since half precision cannot address the pixels of a large map; under autocast too.

    Args:
        value: (B, S, H, D), the L maps flattened row by row and concatenated, S = sum of height * width; float.
        spatial_shapes: (L, 2) int, height and width of each level.
        level_start_index: (L,) int, where each level begins among the S values.
        sampling_locations: (B, Q, H, L, P, 2) xy, fractions of the map.
        attention_weights: (B, Q, H, L, P), usually a softmax over L * P; used as they are.
        level_shapes: ``spatial_shapes`` on the host, where the caller has them, for levels without gaps between them. They
            are read where the op is exported, which then writes grid_sample.

    Returns:
        (B, Q, H * D) in the dtype of ``value``.

    Raises:
        ValueError: when shapes, dtypes or devices do not agree or a level reaches beyond the S values. Compiled graphs
            find the latter out only in the kernel, which raises a RuntimeError; so it is with levels that are given on
            a GPU, since reading them would wait for it: there the kernel stops with a device-side assertion.
        RuntimeError: for a tangent of forward-mode differentiation.

    The CPU kernels are deterministic, for any number of threads. The CUDA kernels' backward adds to the gradient of
    ``value`` with atomics; under ``torch.use_deterministic_algorithms(True)``, with ``warn_only`` or without, it sorts
    the samples by the cell that they reach and adds them in that order instead, which is slower, repeats every bit and
    takes 64 bytes more for each point of one head of one image. All kernels have first derivatives in reverse
    mode only, and neither vmap nor any other transform of ``torch.func``: for those, call it within ``portable_ops()``,
    without ``level_shapes``; vmap and ``torch.func.grad`` the reference has too. ``torch.onnx.export`` writes gathers,
    with any axis dynamic and the levels' sizes read when the model runs; or grid_sample, with ``level_shapes``.

    Example:
        >>> value = torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 4, 1, 1)  # one level of 2 x 2
        >>> centre = torch.full((1, 1, 1, 1, 1, 2), 0.5)
        >>> shapes, start = torch.tensor([[2, 2]]), torch.tensor([0])
        >>> ms_deform_attn(value, shapes, start, centre, torch.ones(1, 1, 1, 1, 1)).item()
        2.5
    """
    arguments = (value, spatial_shapes, level_start_index, sampling_locations, attention_weights)
    if not has_kernels(value.device.type) and not portable():
        tell_missing(value.device.type)
        return ms_deform_attn_reference(*arguments)
    _check_arguments(*arguments, wait=not value.is_cuda)
    if portable() and level_shapes is not None:
        attend = _attend_whole if whole() else _attend
        return attend(value, _without_gaps(level_shapes), sampling_locations, attention_weights)
    if portable():
        return attend_in_gathers(*_kernel_arguments(*arguments)).to(value.dtype)
    _refuse_tangents(value, sampling_locations, attention_weights)
    return torch.ops.detassign.ms_deform_attn(*_kernel_arguments(*arguments)).to(value.dtype)


def ms_deform_attn_reference(
    value: Tensor,
    spatial_shapes: Tensor,
    level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
) -> Tensor:
    """:func:`ms_deform_attn` in plain torch: what the kernels are tested against, and what runs where there is none.

    It reads ``spatial_shapes`` and ``level_start_index`` on the host, and so waits for a GPU that has them. Its backward
    is grid_sample's, which torch refuses on a GPU under ``torch.use_deterministic_algorithms(True)``.
    """
    arguments = (value, spatial_shapes, level_start_index, sampling_locations, attention_weights)
    _check_arguments(*arguments)
    return _attend(value, _levels(spatial_shapes, level_start_index), sampling_locations, attention_weights)


def ms_deform_attn_backward(
    grad: Tensor,
    value: Tensor,
    spatial_shapes: Tensor,
    level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of value, locations and weights for the gradient of the output, without a graph of the forward.

    Args:
        grad: (B, Q, H * D); the others as in :func:`ms_deform_attn`.

    Returns:
        Tensors of the shapes and dtypes of ``value``, ``sampling_locations`` and ``attention_weights``.

    Raises:
        ValueError: as :func:`ms_deform_attn`.
        RuntimeError: as :func:`ms_deform_attn`.
    """
    differentiated = (value, sampling_locations, attention_weights)
    if not has_kernels(value.device.type):
        leaves = [tensor.detach().requires_grad_() for tensor in differentiated]
        with torch.enable_grad():
            output = ms_deform_attn_reference(leaves[0], spatial_shapes, level_start_index, leaves[1], leaves[2])
        of_value, of_locations, of_weights = torch.autograd.grad(output, leaves, grad)
        return of_value, of_locations, of_weights
    arguments = (value, spatial_shapes, level_start_index, sampling_locations, attention_weights)
    _check_arguments(*arguments, wait=not value.is_cuda)
    computed = _kernel_arguments(*arguments)
    gradients = _kernel_gradients(grad.to(computed[0].dtype), *computed)
    of_value, of_locations, of_weights = (
        gradient.to(tensor.dtype) for gradient, tensor in zip(gradients, differentiated, strict=True)
    )
    return of_value, of_locations, of_weights


_IN_GATHERS = "ms_deform_attn within portable_ops(), without level_shapes,"
_refuse_tangents = partial(refuse_tangents, "ms_deform_attn", _IN_GATHERS)


def _kernel_gradients(grad: Tensor, *arguments: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    _refuse_tangents(grad, *arguments)
    deterministic = torch.are_deterministic_algorithms_enabled()
    return torch.ops.detassign.ms_deform_attn_backward(grad, *arguments, deterministic)


def _computed_dtype(*tensors: Tensor) -> torch.dtype:
    return torch.float64 if any(tensor.dtype == torch.float64 for tensor in tensors) else torch.float32


def _kernel_arguments(
    value: Tensor,
    spatial_shapes: Tensor,
    level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The arguments in the dtypes of the kernels, which read narrow values as they are."""
    computed = _computed_dtype(value, sampling_locations, attention_weights)
    return (
        value.to(torch.float64) if computed == torch.float64 else value,
        to_device(spatial_shapes, value.device, torch.int64),
        to_device(level_start_index, value.device, torch.int64),
        sampling_locations.to(computed),
        attention_weights.to(computed),
    )


def _attend(
    value: Tensor, levels: Sequence[tuple[int, int, int]], sampling_locations: Tensor, attention_weights: Tensor
) -> Tensor:
    B, _, H, D = value.shape
    Q = sampling_locations.shape[1]
    computed = _computed_dtype(value, sampling_locations, attention_weights)
    locations, weights = sampling_locations.to(computed), attention_weights.to(computed)
    unread = sum(tensor[:, :0].sum() for tensor in (value, locations, weights))  # zero, and has all three's gradients
    output = value.new_zeros((B * H, D, Q), dtype=computed) + unread
    for level, (start, height, width) in enumerate(levels):
        if height * width == 0:
            continue
        level_map = value[:, start : start + height * width].to(computed)
        level_map = level_map.permute(0, 2, 3, 1).reshape(B * H, D, height, width)
        level_locations = locations[:, :, :, level]
        reached = _reached(level_locations.detach(), height, width)
        grid = 2 * torch.where(reached[..., None], level_locations, FAR) - 1  # grid_sample counts from -1 to 1
        sampled = _sample(level_map, _heads_first(grid))  # (B * H, D, Q, P)
        level_weights = _heads_first(torch.where(reached, weights[:, :, :, level], 0.0))  # (B * H, Q, P)
        output = output + (sampled * level_weights.unsqueeze(1)).sum(-1)
    return output.view(B, H * D, Q).transpose(1, 2).contiguous().to(value.dtype)


def _attend_whole(
    value: Tensor, levels: Sequence[tuple[int, int, int]], sampling_locations: Tensor, attention_weights: Tensor
) -> Tensor:
    """`_attend` as one operator of a traced graph."""
    computed = _computed_dtype(value, sampling_locations, attention_weights)
    arguments = (tensor.to(computed) for tensor in (value, sampling_locations, attention_weights))
    return torch.ops.detassign.attend_levels(*arguments, [size for level in levels for size in level]).to(value.dtype)


@torch.library.custom_op("detassign::attend_levels", mutates_args=())
def _attend_levels(value: Tensor, locations: Tensor, weights: Tensor, levels: Sequence[int]) -> Tensor:
    """What stands in a traced graph until ONNX has operators for it; `levels` are start, height and width of each."""
    each = [(start, height, width) for start, height, width in zip(*[iter(levels)] * 3, strict=True)]
    return _attend(value, each, locations, weights)


@_attend_levels.register_fake
def _(value: Tensor, locations: Tensor, weights: Tensor, levels: Sequence[int]) -> Tensor:
    B, _, H, D = value.shape
    return value.new_empty((B, locations.shape[1], H * D))


def _reached(locations: Tensor, height: int, width: int) -> Tensor:
    """(..., 2) -> (...): whether any of the four cells around a location is on the map."""
    x, y = locations.unbind(-1)
    return _near(x, width) & _near(y, height)


def _near(shares: Tensor, cells: int) -> Tensor:
    place = shares * cells - 0.5
    return (place >= -1) & (place < cells)


def _heads_first(tensor: Tensor) -> Tensor:
    """(B, Q, H, ...) -> (B * H, Q, ...)."""
    return tensor.transpose(1, 2).flatten(0, 1)


def _sample(level_map: Tensor, grid: Tensor) -> Tensor:
    return F.grid_sample(level_map, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _levels(spatial_shapes: Tensor, level_start_index: Tensor) -> list[tuple[int, int, int]]:
    """Start, height and width of each level."""
    return [tuple(level) for level in torch.cat((level_start_index.view(-1, 1), spatial_shapes), dim=1).tolist()]


def _without_gaps(level_shapes: Sequence[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """Start, height and width of levels that follow each other."""
    levels, start = [], 0
    for height, width in level_shapes:
        levels.append((start, height, width))
        start = start + height * width
    return levels


def _check_arguments(
    value: Tensor,
    spatial_shapes: Tensor,
    level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    wait: bool = True,
) -> None:
    """``wait``: read the levels also where they are on a GPU, and so wait for it."""
    # tracing shows sizes as tensors and warns of every decision that rests on one
    if torch.jit.is_tracing():  # pyright: ignore[reportPrivateImportUsage]
        return
    _check_shapes(value, spatial_shapes, level_start_index, sampling_locations, attention_weights)
    floating = {"value": value, "sampling_locations": sampling_locations, "attention_weights": attention_weights}
    for name, tensor in floating.items():
        if not tensor.is_floating_point():
            raise ValueError(f"{name} must be floating point, got {tensor.dtype}")
        if tensor.device != value.device:
            raise ValueError(f"{name} must be on the device of value, {value.device}, got {tensor.device}")
    for name, tensor in {"spatial_shapes": spatial_shapes, "level_start_index": level_start_index}.items():
        if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
            raise ValueError(f"{name} must hold integers, got {tensor.dtype}")
    readable = type(spatial_shapes) is Tensor and type(level_start_index) is Tensor  # and not a tracer's stand-in
    at_hand = wait or not (spatial_shapes.is_cuda or level_start_index.is_cuda)
    if readable and at_hand and not torch.compiler.is_compiling():
        _check_levels(_levels(spatial_shapes, level_start_index), value.shape[1])


def _check_levels(levels: list[tuple[int, int, int]], length: int) -> None:
    for level, (start, height, width) in enumerate(levels):
        if min(start, height, width) < 0 or start + height * width > length:
            raise ValueError(
                f"spatial_shapes and level_start_index must lie within the {length} values, "
                f"but level {level} starts at {start} and is {height} x {width}"
            )


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


def _fake(value: Tensor, shapes: Tensor, starts: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
    B, _, H, D = value.shape
    return value.new_empty((B, locations.shape[1], H * D))


def _fake_backward(
    grad: Tensor,
    value: Tensor,
    shapes: Tensor,
    starts: Tensor,
    locations: Tensor,
    weights: Tensor,
    deterministic: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    of_value, of_locations, of_weights = (
        torch.empty_like(tensor, memory_format=torch.contiguous_format) for tensor in (value, locations, weights)
    )
    return of_value, of_locations, of_weights


def _setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, Tensor, Tensor]:
    gradients = _kernel_gradients(grad, *ctx.saved_tensors)
    return gradients[0], None, None, gradients[1], gradients[2]


def _no_second_derivative(ctx: Any, *grads: Tensor) -> None:
    raise RuntimeError(f"ms_deform_attn has no second derivative; {_IN_GATHERS} is differentiable any number of times.")


def _no_vmap(*args: Any) -> None:
    raise RuntimeError("ms_deform_attn does not run under vmap: its first dimension is the batch, fold yours into it.")


if has_kernels("cpu"):
    torch.library.register_fake("detassign::ms_deform_attn", _fake)
    torch.library.register_fake("detassign::ms_deform_attn_backward", _fake_backward)
    torch.library.register_autograd("detassign::ms_deform_attn", _backward, setup_context=_setup_context)
    torch.library.register_autograd("detassign::ms_deform_attn_backward", _no_second_derivative)
    torch.library.register_vmap("detassign::ms_deform_attn", _no_vmap)

"""Bilinear sampling of maps, each output cell of each map at its own displaced location.

DW's box refinement ("A Dual Weighting Label Assignment Scheme for Object Detection", CVPR 2022) samples the four
coordinate maps of its boxes this way. With ``border="zeros"`` it is a deformable convolution of kernel 1, with as many
groups and offset groups as maps and weights one, less that operator's column buffer and matrix product.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from ._forward_mode import refuse_tangents
from ._library import has_kernels, tell_missing
from ._portable import portable

__all__ = ["sample_maps", "sample_maps_reference"]

BORDERS = ("zeros", "clamp")


def sample_maps(maps: Tensor, offsets: Tensor, *, border: str = "zeros") -> Tensor:
    """Sample every map bilinearly at a location of its own for each output cell.

    ``output[b, k, i, j]`` is ``maps[b, k]`` at ``(i + offsets[b, k, 0, i, j], j + offsets[b, k, 1, i, j])``. A location
    that is not finite gives zero and has no gradient. On a whole cell, where bilinear interpolation has a kink, the
    gradient of the offset is the slope towards the next cell.

    The result is of the wider of the two dtypes, and so is the arithmetic, but in float32 at least. Autocast does not
    change this: box coordinates rounded to half precision would be off by pixels.

    Args:
        maps: (B, K, H, W), floating point, any strides.
        offsets: (B, K, 2, H, W) as (dy, dx), in cells, relative to each output cell.
        border: what lies outside the map: ``"zeros"`` takes cells outside as zero, ``"clamp"`` moves locations outside
            to the nearest one inside (a moved coordinate has no gradient).

    Returns:
        (B, K, H, W).

    Raises:
        ValueError: if a shape, a dtype, a device or ``border`` is not as above.
        RuntimeError: for a tangent of forward-mode differentiation.

    The backward of the CPU kernel is deterministic. The CUDA kernel's adds with atomics; under
    ``torch.use_deterministic_algorithms(True)`` the reference takes its place. The kernels have first derivatives in
    reverse mode only, and neither vmap nor any other transform of ``torch.func``: for those, call the reference.
    ``torch.onnx.export`` writes the reference.

    >>> maps = torch.tensor([[[[0.0, 10.0], [20.0, 30.0]]]])
    >>> half_a_cell_down = torch.tensor([0.5, 0.0]).view(1, 1, 2, 1, 1).expand(1, 1, 2, 2, 2)
    >>> sample_maps(maps, half_a_cell_down, border="clamp")
    tensor([[[[10., 20.],
              [20., 30.]]]])
    """
    maps, offsets = _checked(maps, offsets, border)
    if not has_kernels(maps.device.type) and not portable():
        tell_missing(maps.device.type)
    if not _kernel_serves(maps):
        return _sample(maps, offsets, border == "clamp")
    _refuse_tangents(maps, offsets)
    return torch.ops.detassign.sample_maps(maps, offsets, border == "clamp")


def sample_maps_reference(maps: Tensor, offsets: Tensor, *, border: str = "zeros") -> Tensor:
    """:func:`sample_maps` in plain torch: what the kernels are tested against, and what runs where there is none."""
    maps, offsets = _checked(maps, offsets, border)
    return _sample(maps, offsets, border == "clamp")


_refuse_tangents = partial(refuse_tangents, "sample_maps", "sample_maps_reference")


def _kernel_serves(maps: Tensor) -> bool:
    nondeterministic = maps.is_cuda and torch.are_deterministic_algorithms_enabled()
    return has_kernels(maps.device.type) and not nondeterministic and not portable()


def _checked(maps: Tensor, offsets: Tensor, border: str) -> tuple[Tensor, Tensor]:
    if border not in BORDERS:
        raise ValueError(f"Expected border to be one of {', '.join(BORDERS)} but got {border!r}.")
    if maps.dim() != 4:
        raise ValueError(f"Expected maps to be of shape (B, K, H, W) but got {tuple(maps.shape)}.")
    B, K, H, W = maps.shape
    if offsets.shape != (B, K, 2, H, W):
        raise ValueError(f"Expected offsets to be of shape {(B, K, 2, H, W)} but got {tuple(offsets.shape)}.")
    for name, value in (("maps", maps), ("offsets", offsets)):
        if not value.is_floating_point():
            raise ValueError(f"Expected {name} to be floating point but got {value.dtype}.")
    if maps.device != offsets.device:
        raise ValueError(f"Expected offsets on the device of maps, {maps.device}, but got {offsets.device}.")
    dtype = torch.promote_types(maps.dtype, offsets.dtype)
    return maps.to(dtype), offsets.to(dtype)


def _sample(maps: Tensor, offsets: Tensor, clamp: bool) -> Tensor:
    computed = torch.promote_types(maps.dtype, torch.float32)
    rows, columns, finite = _locations(offsets.to(computed), clamp)
    sampled = _interpolate(maps.to(computed), rows, columns, clamp)
    return torch.where(finite, sampled, 0.0).to(maps.dtype)


def _locations(offsets: Tensor, clamp: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Rows and columns to sample, (B, K, H, W) each, bounded so that they have an index, and which were finite."""
    H, W = offsets.shape[-2:]
    rows = torch.arange(H, device=offsets.device)[:, None] + offsets[:, :, 0]
    columns = torch.arange(W, device=offsets.device) + offsets[:, :, 1]
    finite = rows.isfinite() & columns.isfinite()
    margin = 0 if clamp else 2  # two cells out, neither neighbour is on the map
    rows = _bounded(torch.where(finite, rows, 0.0), -margin, H - 1 + margin)
    columns = _bounded(torch.where(finite, columns, 0.0), -margin, W - 1 + margin)
    return rows, columns, finite


def _bounded(coordinates: Tensor, lowest: int, highest: int) -> Tensor:
    """``clamp``, whose gradient at the bounds themselves differs between releases of torch; here it is one."""
    moved = (coordinates < lowest) | (coordinates > highest)
    return torch.where(moved, coordinates.detach().clamp(lowest, highest), coordinates)


def _interpolate(maps: Tensor, rows: Tensor, columns: Tensor, clamp: bool) -> Tensor:
    top, left = rows.detach().floor(), columns.detach().floor()
    down, right = rows - top, columns - left
    upper = (1 - right) * _read(maps, top, left, clamp) + right * _read(maps, top, left + 1, clamp)
    lower = (1 - right) * _read(maps, top + 1, left, clamp) + right * _read(maps, top + 1, left + 1, clamp)
    return (1 - down) * upper + down * lower


def _read(maps: Tensor, rows: Tensor, columns: Tensor, clamp: bool) -> Tensor:
    """The cells (B, K, H, W) of the maps at whole rows and columns; outside the map the nearest cell, or zero."""
    H, W = maps.shape[-2:]
    index = rows.clamp(0, H - 1).long() * W + columns.clamp(0, W - 1).long()
    cells = maps.flatten(2).gather(2, index.flatten(2)).view_as(rows)
    inside = (rows >= 0) & (rows < H) & (columns >= 0) & (columns < W)
    return cells if clamp else torch.where(inside, cells, 0.0)


def _fake(maps: Tensor, offsets: Tensor, clamp: bool) -> Tensor:
    return torch.empty_like(maps, memory_format=torch.contiguous_format)


def _fake_backward(grad: Tensor, maps: Tensor, offsets: Tensor, clamp: bool) -> tuple[Tensor, Tensor]:
    contiguous = torch.contiguous_format
    return torch.empty_like(maps, memory_format=contiguous), torch.empty_like(offsets, memory_format=contiguous)


def _setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, bool], output: Tensor) -> None:
    maps, offsets, ctx.clamp = inputs
    ctx.save_for_backward(maps, offsets)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
    maps, offsets = ctx.saved_tensors
    _refuse_tangents(grad, maps, offsets)
    return (*torch.ops.detassign.sample_maps_backward(grad, maps, offsets, ctx.clamp), None)


def _no_second_derivative(ctx: Any, *grads: Tensor) -> None:
    raise RuntimeError(
        "sample_maps has no second derivative; sample_maps_reference is differentiable any number of times."
    )


def _no_vmap(*args: Any) -> None:
    raise RuntimeError("sample_maps does not run under vmap: its first dimension is the batch, fold yours into it.")


if has_kernels("cpu"):
    torch.library.register_fake("detassign::sample_maps", _fake)
    torch.library.register_fake("detassign::sample_maps_backward", _fake_backward)
    torch.library.register_autograd("detassign::sample_maps", _backward, setup_context=_setup_context)
    torch.library.register_autograd("detassign::sample_maps_backward", _no_second_derivative)
    torch.library.register_vmap("detassign::sample_maps", _no_vmap)

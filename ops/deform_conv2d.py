"""Deformable convolution: every tap of the kernel reads the map bilinearly where its own offset moves it.

Version 1: Dai et al., "Deformable Convolutional Networks" (2017), equation 2. Version 2, whose samples are masked: Zhu et
al., "Deformable ConvNets v2" (2019), equation 1. The arguments are those of torchvision's operator of that name, which
serves tensors on a GPU.
"""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from . import _deform_conv2d_torchvision as by_torchvision
from ._forward_mode import refuse_tangents
from ._library import has_kernels, tell_missing
from ._portable import portable
from .deform_conv2d_geometry import Geometry, Pair, reached_samples, steps, tap_places

__all__ = ["DeformConv2dGradients", "deform_conv2d", "deform_conv2d_backward", "deform_conv2d_reference"]


class DeformConv2dGradients(NamedTuple):
    """Gradients of the arguments, in their shapes and dtypes; None where not asked for, or where there is no mask."""

    input: Tensor | None
    weight: Tensor | None
    offset: Tensor | None
    mask: Tensor | None


def deform_conv2d(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    mask: Tensor | None = None,
) -> Tensor:
    """Convolve a map with a kernel whose taps read where the offsets move them.

    A cell off the map counts as zero. A sample a whole cell or more outside the map, as one whose location is not
    finite, adds nothing and has no gradient, whatever its mask; here torchvision differs, where a sample exactly one cell
    outside has a gradient to its offset. On a whole cell, where bilinear interpolation has a kink, the gradient of the
    offset is the slope towards the next cell.

    Arithmetic runs in the widest dtype of input, offset, weight and mask and at least in float32, under autocast too. The
    bias is added last, in its own dtype where that is wider still.

    Args:
        input: (B, C, H, W), floating point.
        offset: (B, 2 * offset_groups * kh * kw, Ho, Wo) as (dy, dx) of each tap, cells; the C channels fall into
            offset groups of equal size.
        weight: (O, C / groups, kh, kw).
        bias: (O,), added.
        stride: of the kernel, for both axes or for (rows, columns).
        padding: rows and columns of zeros around the map, likewise.
        dilation: from one tap to the next, cells, likewise.
        mask: (B, offset_groups * kh * kw, Ho, Wo), factor of each sample; None is version 1.

    Returns:
        (B, O, Ho, Wo) in the dtype of ``input``.

    Raises:
        ValueError: if shapes, dtypes or devices do not agree, or the kernel does not fit on the padded map.
        RuntimeError: for a tangent of forward-mode differentiation.

    The CPU kernel keeps no columns but those of the positions that it is at. It has first derivatives in
    reverse mode only, and neither vmap nor any other transform of ``torch.func``: for those, call the reference, which
    ``torch.onnx.export`` writes too.
    On a GPU, and on a CPU without the kernels, torchvision's operator runs, whose backward adds with atomics on a GPU.

    >>> maps = torch.arange(9.0).view(1, 1, 3, 3)
    >>> half_a_cell_right = torch.tensor([0.0, 0.5]).view(1, 2, 1, 1).expand(1, 2, 3, 3)
    >>> deform_conv2d(maps, half_a_cell_right, torch.ones(1, 1, 1, 1))
    tensor([[[[0.5000, 1.5000, 1.0000],
              [3.5000, 4.5000, 2.5000],
              [6.5000, 7.5000, 4.0000]]]])
    """
    geometry = Geometry.of(stride, padding, dilation)
    _check_arguments(input, offset, weight, bias, mask, geometry)
    if input.device.type == "cpu" and not has_kernels("cpu") and not portable():
        tell_missing("cpu", "torchvision" if by_torchvision.serves(input.device) else "pure torch")
    output = _run(*_widened(input, weight, offset, mask), geometry)
    return _with_bias(output, bias).to(input.dtype)


def deform_conv2d_reference(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    mask: Tensor | None = None,
) -> Tensor:
    """:func:`deform_conv2d` in plain torch: what the kernel is tested against, differentiable any number of times."""
    geometry = Geometry.of(stride, padding, dilation)
    _check_arguments(input, offset, weight, bias, mask, geometry)
    output = _convolve(*_widened(input, weight, offset, mask), geometry)
    return _with_bias(output, bias).to(input.dtype)


def deform_conv2d_backward(
    grad: Tensor,
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    mask: Tensor | None = None,
    *,
    of_samples: bool = True,
    of_weight: bool = True,
) -> DeformConv2dGradients:
    """Gradients for the gradient of the output, without a graph of the forward.

    Args:
        grad: (B, O, Ho, Wo); the others as in :func:`deform_conv2d`.
        of_samples: whether those of ``input``, ``offset`` and ``mask`` are wanted.
        of_weight: whether that of ``weight`` is.

    Returns:
        Of ``input`` (B, C, H, W), ``weight`` (O, C / groups, kh, kw), ``offset`` (B, 2 * offset_groups * kh * kw, Ho, Wo)
        and ``mask`` (B, offset_groups * kh * kw, Ho, Wo), each in the dtype of its argument.

    Raises:
        ValueError: as :func:`deform_conv2d`, and for a ``grad`` of another shape or device or of integers.
        RuntimeError: as :func:`deform_conv2d`.
    """
    geometry = Geometry.of(stride, padding, dilation)
    _check_arguments(input, offset, weight, None, mask, geometry)
    _check_gradient(grad, input, offset, weight)
    tensors = _widened(input, weight, offset, mask)
    found = _gradients(grad.to(tensors[0].dtype), tensors, geometry, of_samples, of_weight)
    wanted = zip(found, (input, weight, offset, mask), strict=True)
    return DeformConv2dGradients(
        *(None if gradient is None or like is None else gradient.to(like.dtype) for gradient, like in wanted)
    )


Tensors = tuple[Tensor, Tensor, Tensor, Tensor | None]  # input, weight, offset and mask, of one dtype


def _run(input: Tensor, weight: Tensor, offset: Tensor, mask: Tensor | None, geometry: Geometry) -> Tensor:
    if portable():
        return _convolve(input, weight, offset, mask, geometry)
    if _kernel_serves(input.device):
        _refuse_tangents(input, weight, offset, mask)
        return torch.ops.detassign.deform_conv2d(input, weight, offset, mask, *geometry)
    if by_torchvision.serves(input.device):
        _refuse_tangents(input, weight, offset, mask)
        return by_torchvision.convolve(input, weight, offset, mask, geometry)
    return _convolve(input, weight, offset, mask, geometry)


def _gradients(
    grad: Tensor, tensors: Tensors, geometry: Geometry, of_samples: bool, of_weight: bool
) -> DeformConv2dGradients:
    _refuse_tangents(grad, *tensors)
    if _kernel_serves(grad.device):
        found = torch.ops.detassign.deform_conv2d_backward(grad, *tensors, *geometry, of_samples, of_weight)
    else:
        form = by_torchvision.differentiate if by_torchvision.serves(grad.device) else _differentiate
        found = form(grad, *tensors, geometry)
    wanted = (of_samples, of_weight, of_samples, of_samples and tensors[3] is not None)
    return DeformConv2dGradients(*(one if asked else None for one, asked in zip(found, wanted, strict=True)))


_refuse_tangents = partial(refuse_tangents, "deform_conv2d", "deform_conv2d_reference")


def _kernel_serves(device: torch.device) -> bool:
    return device.type == "cpu" and has_kernels("cpu")


def _with_bias(output: Tensor, bias: Tensor | None) -> Tensor:
    return output if bias is None else output + bias.view(-1, 1, 1)


def _check_arguments(
    input: Tensor, offset: Tensor, weight: Tensor, bias: Tensor | None, mask: Tensor | None, geometry: Geometry
) -> None:
    given = {"input": input, "offset": offset, "weight": weight, "bias": bias, "mask": mask}
    for name, tensor in given.items():
        if tensor is not None:
            _check_kind(name, tensor, input.device)
    _check_weight(input, weight, bias)
    _check_maps(input, offset, weight, mask, geometry)


def _check_gradient(grad: Tensor, input: Tensor, offset: Tensor, weight: Tensor) -> None:
    _check_kind("grad", grad, input.device)
    expected = (input.shape[0], weight.shape[0], *offset.shape[2:])
    if tuple(grad.shape) != expected:
        raise ValueError(f"Expected grad to be of shape {expected} but got {tuple(grad.shape)}.")


def _check_kind(name: str, tensor: Tensor, device: torch.device) -> None:
    if not tensor.is_floating_point():
        raise ValueError(f"Expected {name} to be floating point but got {tensor.dtype}.")
    if tensor.device != device:
        raise ValueError(f"Expected {name} on the device of input, {device}, but got {tensor.device}.")


def _check_weight(input: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    if input.dim() != 4:
        raise ValueError(f"Expected input to be of shape (B, C, H, W) but got {tuple(input.shape)}.")
    if weight.dim() != 4 or 0 in weight.shape[1:]:
        raise ValueError(f"Expected weight to be of shape (O, C / groups, kh, kw) but got {tuple(weight.shape)}.")
    groups = input.shape[1] // weight.shape[1]
    if groups == 0 or input.shape[1] % weight.shape[1] or weight.shape[0] % groups:
        raise ValueError(
            f"Expected weight to be of shape (O, C / groups, kh, kw) for the {input.shape[1]} channels of input but got "
            f"{tuple(weight.shape)}."
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"Expected bias to be of shape {tuple(weight.shape[:1])} but got {tuple(bias.shape)}.")


def _check_maps(input: Tensor, offset: Tensor, weight: Tensor, mask: Tensor | None, geometry: Geometry) -> None:
    size = steps(tuple(input.shape[2:]), tuple(weight.shape[2:]), geometry)
    if min(size) < 1:
        raise ValueError(
            f"Expected a kernel that fits on the padded input but got {weight.shape[2]} x {weight.shape[3]}, dilation "
            f"{geometry.dilation}, for {input.shape[2]} x {input.shape[3]}, padding {geometry.padding}."
        )
    taps = weight.shape[2] * weight.shape[3]
    groups = offset.shape[1] // (2 * taps) if offset.dim() == 4 else 0
    if groups == 0 or offset.shape[1] % (2 * taps) or input.shape[1] % groups:
        raise ValueError(
            f"Expected offset to be of shape (B, offset_groups * {2 * taps}, Ho, Wo), where offset_groups divides "
            f"{input.shape[1]}, but got {tuple(offset.shape)}."
        )
    for name, maps, channels in (("offset", offset, 2 * groups * taps), ("mask", mask, groups * taps)):
        expected = (input.shape[0], channels, *size)
        if maps is not None and tuple(maps.shape) != expected:
            raise ValueError(f"Expected {name} to be of shape {expected} but got {tuple(maps.shape)}.")


def _widened(input: Tensor, weight: Tensor, offset: Tensor, mask: Tensor | None) -> Tensors:
    computed = torch.float32
    for tensor in (input, weight, offset, mask):
        computed = computed if tensor is None else torch.promote_types(computed, tensor.dtype)
    return input.to(computed), weight.to(computed), offset.to(computed), None if mask is None else mask.to(computed)


def _convolve(input: Tensor, weight: Tensor, offset: Tensor, mask: Tensor | None, geometry: Geometry) -> Tensor:
    B, C, H, W = input.shape
    outputs, channels, *kernel = weight.shape
    size = tuple(offset.shape[2:])
    places = tap_places(tuple(kernel), size, geometry, offset)
    locations = places + offset.unflatten(1, (-1, len(places), 2))  # (B, offset groups, taps, 2, Ho, Wo)
    reached = reached_samples(locations, (H, W))
    inside = torch.where(reached.unsqueeze(3), locations, -1.0)
    sampled = _interpolate(input, *inside.unbind(3))  # (B, offset groups, C / offset groups, taps, Ho, Wo)
    sampled = torch.where(reached.unsqueeze(2), sampled, 0.0)
    if mask is not None:
        sampled = sampled * torch.where(reached, mask.view(reached.shape), 0.0).unsqueeze(2)
    groups, length = C // channels, channels * len(places)
    columns = sampled.reshape(B, groups, length, size[0] * size[1])
    return _product(weight.reshape(groups, outputs // groups, length), columns).view(B, outputs, *size)


def _product(left: Tensor, right: Tensor) -> Tensor:
    """The matrix product, in its factors' precision under autocast too."""
    if left.is_meta:  # which autocast does not know
        return left @ right
    with torch.autocast(left.device.type, enabled=False):
        return left @ right


def _interpolate(input: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """The map at locations (B, G, taps, Ho, Wo) from -1 to its height and width -> (B, G, C / G, taps, Ho, Wo)."""
    W, groups = input.shape[3], rows.shape[1]
    framed = F.pad(input, (1, 1, 1, 1)).flatten(2).unflatten(1, (groups, -1))
    top, left = rows.detach().floor(), columns.detach().floor()
    down, right = rows - top, columns - left
    total = torch.zeros((), dtype=input.dtype, device=input.device)
    for lower, righter in product((0, 1), (0, 1)):
        index = ((top + 1 + lower) * (W + 2) + left + 1 + righter).long().flatten(2).unsqueeze(2)
        cells = framed.gather(3, index.expand(-1, -1, framed.shape[2], -1)).unflatten(3, rows.shape[2:])
        share = (down if lower else 1 - down) * (right if righter else 1 - right)
        total = total + share.unsqueeze(2) * cells
    return total


def _differentiate(
    grad: Tensor, input: Tensor, weight: Tensor, offset: Tensor, mask: Tensor | None, geometry: Geometry
) -> tuple[Tensor | None, ...]:
    input, weight, offset = (tensor.detach().requires_grad_() for tensor in (input, weight, offset))
    mask = mask if mask is None else mask.detach().requires_grad_()
    with torch.enable_grad():
        output = _convolve(input, weight, offset, mask, geometry)
    leaves = (input, weight, offset) if mask is None else (input, weight, offset, mask)
    return (*torch.autograd.grad(output, leaves, grad), None)[:4]


def _fake(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
) -> Tensor:
    return input.new_empty((input.shape[0], weight.shape[0], *offset.shape[2:]))


def _fake_backward(
    grad: Tensor,
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    of_samples: bool,
    of_weight: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    def like(tensor: Tensor | None, asked: bool) -> Tensor:
        return input.new_empty(tensor.shape if asked and tensor is not None else (0,))

    return like(input, of_samples), like(weight, of_weight), like(offset, of_samples), like(mask, of_samples)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:4])
    ctx.geometry = Geometry(*(tuple(pair) for pair in inputs[4:]))


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    of_input, of_weight, of_offset, of_mask = ctx.needs_input_grad[:4]
    asked = (of_input or of_offset or of_mask, of_weight)
    return *_gradients(grad, ctx.saved_tensors, ctx.geometry, *asked), None, None, None


def _no_second_derivative(ctx: Any, *grads: Tensor) -> None:
    raise RuntimeError(
        "deform_conv2d has no second derivative; deform_conv2d_reference is differentiable any number of times."
    )


def _no_vmap(*args: Any) -> None:
    raise RuntimeError("deform_conv2d does not run under vmap: its first dimension is the batch, fold yours into it.")


if has_kernels("cpu"):
    torch.library.register_fake("detassign::deform_conv2d", _fake)
    torch.library.register_fake("detassign::deform_conv2d_backward", _fake_backward)
    torch.library.register_autograd("detassign::deform_conv2d", _backward, setup_context=_setup_context)
    torch.library.register_autograd("detassign::deform_conv2d_backward", _no_second_derivative)
    torch.library.register_vmap("detassign::deform_conv2d", _no_vmap)

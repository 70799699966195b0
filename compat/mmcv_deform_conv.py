"""Deformable convolution, v1 and modulated v2, in the calling convention of ``mmcv._ext``.

Dai et al. (2017), Zhu et al. (2019). The kernels are torchvision's, whose offset order (group, kernel position, then y
before x) and zero padding are mmcv's own. They differ in one gradient: a sample exactly one pixel outside the map, as
at every border before the offsets have learnt anything, has no gradient to its offset in mmcv, and so here. Results
are written into the buffers mmcv allocates; mmcv's scratch buffers and its ``im2col_step`` are not needed.

mmcv's modulated kernel takes offsets and masks that are larger than the output, and DyHead relies on it: each image's
block is read from its front with the strides of the output, whatever its own. The rest of the block is not read.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .precision import at_least_float32

__all__ = [
    "deform_conv_backward_input",
    "deform_conv_backward_parameters",
    "deform_conv_forward",
    "modulated_deform_conv_backward",
    "modulated_deform_conv_forward",
]


class Geometry(NamedTuple):
    """Stride, padding, dilation (height, then width) and groups in the order torchvision's kernel takes them."""

    stride_h: int
    stride_w: int
    pad_h: int
    pad_w: int
    dilation_h: int
    dilation_w: int
    groups: int
    offset_groups: int


def deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    output: Tensor,
    columns: Tensor,
    ones: Tensor,
    *,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    im2col_step: int,
) -> None:
    """Write the v1 convolution of ``input`` (B, C, H, W) into ``output`` (B, K, Ho, Wo).

    Args:
        input: (B, C, H, W).
        weight: (K, C / group, kH, kW).
        offset: (B, 2 * deformable_group * kH * kW, Ho, Wo), pixels, y before x.
        output: (B, K, Ho, Wo), written.
        columns: mmcv's scratch, untouched.
        ones: mmcv's scratch, untouched.
        kW, kH, dW, dH, padW, padH, dilationW, dilationH: kernel size, stride, padding and dilation.
        group: groups of the convolution.
        deformable_group: groups of channels that share offsets.
        im2col_step: images per step in mmcv's kernel, without effect here.

    Raises:
        ValueError: when ``offset`` has another shape, which mmcv refuses too.
    """
    geometry = Geometry(dH, dW, padH, padW, dilationH, dilationW, group, deformable_group)
    expected = _block_shape(2, input, weight, geometry)
    if offset.shape != expected:
        raise ValueError(f"offset: expected shape {tuple(expected)}, got {tuple(offset.shape)}")
    output.copy_(_forward(input, weight, offset, None, None, geometry))


def deform_conv_backward_input(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    weight: Tensor,
    columns: Tensor,
    *,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    im2col_step: int,
) -> None:
    """Write the gradients of input and offset; the arguments are those of the forward."""
    geometry = Geometry(dH, dW, padH, padW, dilationH, dilationW, group, deformable_group)
    gradients = _backward(grad_output, input, weight, offset, None, geometry)
    grad_input.copy_(gradients.input)
    grad_offset.copy_(gradients.offset)


def deform_conv_backward_parameters(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_weight: Tensor,
    columns: Tensor,
    ones: Tensor,
    *,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    scale: float,
    im2col_step: int,
) -> None:
    """Add ``scale`` times the gradient of the weight to ``grad_weight``; the arguments are those of the forward."""
    geometry = Geometry(dH, dW, padH, padW, dilationH, dilationW, group, deformable_group)
    # The weight's gradient depends on the weight by its shape only.
    gradients = _backward(grad_output, input, grad_weight, offset, None, geometry)
    grad_weight.add_(gradients.weight.to(grad_weight), alpha=scale)


def modulated_deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    *,
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    group: int,
    deformable_group: int,
    with_bias: bool,
) -> None:
    """Write the v2 convolution of ``input`` (B, C, H, W) into ``output`` (B, K, Ho, Wo).

    Args:
        input: (B, C, H, W).
        weight: (K, C / group, kernel_h, kernel_w).
        bias: (K,) where ``with_bias``, else empty.
        ones: mmcv's scratch, untouched.
        offset: (B, 2 * deformable_group * kernel_h * kernel_w, Ho, Wo), pixels, y before x; or larger, see above.
        mask: (B, deformable_group * kernel_h * kernel_w, Ho, Wo), factor of each sample; or larger, see above.
        output: (B, K, Ho, Wo), written.
        columns: mmcv's scratch, untouched.
        kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w: geometry.
        group: groups of the convolution.
        deformable_group: groups of channels that share offsets and masks.
        with_bias: whether ``bias`` is added.

    Raises:
        ValueError: when ``offset`` or ``mask`` has another batch or number of channels, or maps smaller than the output.
    """
    geometry = Geometry(stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, group, deformable_group)
    offset, mask = _read_blocks(offset, mask, input, weight, geometry)
    output.copy_(_forward(input, weight, offset, mask, bias if with_bias else None, geometry))


def modulated_deform_conv_backward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    grad_input: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    *,
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    group: int,
    deformable_group: int,
    with_bias: bool,
) -> None:
    """Write the gradients of input, weight, bias, offset and mask; the arguments are those of the forward."""
    geometry = Geometry(stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, group, deformable_group)
    offset, mask = _read_blocks(offset, mask, input, weight, geometry)
    gradients = _backward(grad_output, input, weight, offset, mask, geometry)
    grad_input.copy_(gradients.input)
    grad_weight.copy_(gradients.weight)
    _write_block(grad_offset, gradients.offset)
    _write_block(grad_mask, gradients.mask)
    if with_bias:
        grad_bias.copy_(gradients.bias)


class Gradients(NamedTuple):
    """What torchvision's backward kernel returns, in its order."""

    input: Tensor
    weight: Tensor
    offset: Tensor
    mask: Tensor
    bias: Tensor


def _read_blocks(
    offset: Tensor, mask: Tensor, input: Tensor, weight: Tensor, geometry: Geometry
) -> tuple[Tensor, Tensor]:
    """What the kernel reads of offset and mask: the front of each image's block, in the shape that the output asks for."""
    offset = _front("offset", offset, _block_shape(2, input, weight, geometry))
    return offset, _front("mask", mask, _block_shape(1, input, weight, geometry))


def _block_shape(values: int, input: Tensor, weight: Tensor, geometry: Geometry) -> torch.Size:
    """(B, values * offset_groups * kH * kW, Ho, Wo), the shape of offsets (two values a sample) or masks (one)."""
    kernel = weight.shape[2:]
    height = _steps(input.shape[2], kernel[0], geometry.stride_h, geometry.pad_h, geometry.dilation_h)
    width = _steps(input.shape[3], kernel[1], geometry.stride_w, geometry.pad_w, geometry.dilation_w)
    return torch.Size((len(input), values * geometry.offset_groups * kernel.numel(), height, width))


def _steps(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """How often the kernel fits along one axis."""
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def _front(name: str, block: Tensor, shape: torch.Size) -> Tensor:
    """The first ``shape[1:].numel()`` values of each image, in that shape."""
    if block.shape == shape:
        return block
    if block.shape[:2] != shape[:2] or block.dim() != 4 or block.shape[2:].numel() < shape[2:].numel():
        raise ValueError(f"{name}: expected shape {tuple(shape)} or larger maps, got {tuple(block.shape)}")
    return block.flatten(1)[:, : shape[1:].numel()].reshape(shape)


def _write_block(buffer: Tensor, values: Tensor) -> None:
    """Fill the front of each image's block, and the rest of it with zeros."""
    if buffer.shape != values.shape:
        rest = buffer.shape[1:].numel() - values.shape[1:].numel()
        values = F.pad(values.flatten(1), (0, rest)).view(buffer.shape)
    buffer.copy_(values)


def _forward(
    input: Tensor, weight: Tensor, offset: Tensor, mask: Tensor | None, bias: Tensor | None, geometry: Geometry
) -> Tensor:
    tensors = [at_least_float32(tensor) for tensor in (input, weight, offset, *_filled(input, weight, mask, bias))]
    return torch.ops.torchvision.deform_conv2d(*tensors, *geometry, mask is not None)


def _backward(
    grad_output: Tensor, input: Tensor, weight: Tensor, offset: Tensor, mask: Tensor | None, geometry: Geometry
) -> Gradients:
    tensors = (grad_output, input, weight, offset, *_filled(input, weight, mask, None))
    tensors = [at_least_float32(tensor).contiguous() for tensor in tensors]
    backward = torch.ops.torchvision._deform_conv2d_backward
    gradients = Gradients(*backward(*tensors, *geometry, mask is not None))
    inside = _samples_inside(tensors[3], input.shape[2:], weight.shape[2:], geometry)
    return gradients._replace(offset=gradients.offset * inside)


def _samples_inside(offset: Tensor, size: torch.Size, kernel: torch.Size, geometry: Geometry) -> Tensor:
    """(B, 2 * G * kH * kW, Ho, Wo) as ``offset``: whether the sample lies less than a pixel outside the map."""
    samples = offset.unflatten(1, (geometry.offset_groups, *kernel, 2))  # (B, G, kH, kW, 2, Ho, Wo)
    rows = _grid(kernel[0], offset.shape[2], geometry.dilation_h, geometry.stride_h, geometry.pad_h, offset)
    columns = _grid(kernel[1], offset.shape[3], geometry.dilation_w, geometry.stride_w, geometry.pad_w, offset)
    y = samples[:, :, :, :, 0] + rows.view(rows.shape[0], 1, rows.shape[1], 1)
    x = samples[:, :, :, :, 1] + columns.view(1, columns.shape[0], 1, columns.shape[1])
    inside = (y > -1) & (y < size[0]) & (x > -1) & (x < size[1])  # (B, G, kH, kW, Ho, Wo)
    return inside.unsqueeze(4).expand_as(samples).flatten(1, 4)


def _grid(taps: int, steps: int, dilation: int, stride: int, padding: int, like: Tensor) -> Tensor:
    """(taps, steps) pixel that each tap of the kernel reads at each step without an offset."""
    starts = torch.arange(steps, device=like.device) * stride - padding
    return torch.arange(taps, device=like.device).unsqueeze(1) * dilation + starts


def _filled(input: Tensor, weight: Tensor, mask: Tensor | None, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mask and bias, with the neutral tensors torchvision's kernel wants in place of None."""
    mask = input.new_zeros((input.shape[0], 0)) if mask is None else mask
    bias = input.new_zeros(weight.shape[0]) if bias is None else bias
    return mask, bias

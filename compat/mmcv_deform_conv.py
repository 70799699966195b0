"""Deformable convolution, v1 and modulated v2, in the calling convention of ``mmcv._ext``.

Dai et al. (2017), Zhu et al. (2019). The op is ``detassign.ops.deform_conv2d``, whose offset order (group, kernel position,
then y before x), zero padding and gradients are mmcv's own. Results are written into the buffers mmcv allocates; mmcv's
scratch buffers and its ``im2col_step`` are not needed.

mmcv's modulated kernel takes offsets and masks that are larger than the output, and DyHead relies on it: each image's
block is read from its front with the strides of the output, whatever its own. The rest of the block is not read.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..ops import deform_conv2d
from ..ops.deform_conv2d import deform_conv2d_backward
from ..ops.deform_conv2d_geometry import Geometry, steps

__all__ = [
    "deform_conv_backward_input",
    "deform_conv_backward_parameters",
    "deform_conv_forward",
    "modulated_deform_conv_backward",
    "modulated_deform_conv_forward",
]


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
    geometry = Geometry((dH, dW), (padH, padW), (dilationH, dilationW))
    expected = _block_shape(2 * deformable_group, input, weight, geometry)
    if offset.shape != expected:
        raise ValueError(f"offset: expected shape {tuple(expected)}, got {tuple(offset.shape)}")
    output.copy_(deform_conv2d(input, offset, weight, None, *geometry))


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
    geometry = Geometry((dH, dW), (padH, padW), (dilationH, dilationW))
    gradients = deform_conv2d_backward(grad_output, input, offset, weight, *geometry, of_weight=False)
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
    geometry = Geometry((dH, dW), (padH, padW), (dilationH, dilationW))
    # The weight's gradient depends on the weight by its shape only.
    gradients = deform_conv2d_backward(grad_output, input, offset, grad_weight, *geometry, of_samples=False)
    grad_weight.add_(gradients.weight, alpha=scale)


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
    geometry = Geometry((stride_h, stride_w), (pad_h, pad_w), (dilation_h, dilation_w))
    offset, mask = read_blocks(offset, mask, input, weight, geometry, deformable_group)
    output.copy_(deform_conv2d(input, offset, weight, bias if with_bias else None, *geometry, mask))


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
    geometry = Geometry((stride_h, stride_w), (pad_h, pad_w), (dilation_h, dilation_w))
    offset, mask = read_blocks(offset, mask, input, weight, geometry, deformable_group)
    gradients = deform_conv2d_backward(grad_output, input, offset, weight, *geometry, mask)
    grad_input.copy_(gradients.input)
    grad_weight.copy_(gradients.weight)
    _write_block(grad_offset, gradients.offset)
    _write_block(grad_mask, gradients.mask)
    if with_bias:
        grad_bias.copy_(grad_output.sum((0, 2, 3)))


def read_blocks(
    offset: Tensor, mask: Tensor, input: Tensor, weight: Tensor, geometry: Geometry, groups: int
) -> tuple[Tensor, Tensor]:
    """What the op reads of offset and mask: the front of each image's block, in the shape that the output asks for."""
    offset = _front("offset", offset, _block_shape(2 * groups, input, weight, geometry))
    return offset, _front("mask", mask, _block_shape(groups, input, weight, geometry))


def _block_shape(values: int, input: Tensor, weight: Tensor, geometry: Geometry) -> torch.Size:
    """(B, values * kH * kW, Ho, Wo), the shape of what has so many ``values`` for a tap."""
    kernel = weight.shape[2:]
    return torch.Size((input.shape[0], values * kernel.numel(), *steps(input.shape[2:], kernel, geometry)))


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

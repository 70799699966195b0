"""Convolutions and the batch norms behind them as one."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def conv_norm(x: Tensor, conv: nn.Module, norm: nn.Module) -> Tensor:
    """A convolution without bias and the norm behind it, in one where that is a batch norm with fixed statistics.

    The norm may learn its scale and shift: gradients reach them, and the convolution's weight, through the folded one.
    """
    if norm.training or not isinstance(norm, _BatchNorm) or not isinstance(conv, nn.Conv2d):
        return norm(conv(x))
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    bias = norm.bias - norm.running_mean * scale
    weight = conv.weight * scale[:, None, None, None]
    return nn.functional.conv2d(x, weight, bias, conv.stride, conv.padding, conv.dilation, conv.groups)

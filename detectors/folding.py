"""Convolutions and the batch norms behind them as one."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def conv_norm(x: Tensor, conv: nn.Module, norm: nn.Module) -> Tensor:
    """A convolution without bias and the norm behind it, in one where that is a batch norm with fixed statistics.

    The norm may learn its scale and shift: gradients reach them, and the convolution's weight, through the folded one.
    Hooks of the two are called where they are not folded.
    """
    if not (_is_plain(conv) and _is_fixed(norm)):
        return norm(conv(x))
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    bias = norm.bias - norm.running_mean * scale
    weight = conv.weight * scale[:, None, None, None]
    return nn.functional.conv2d(x, weight, bias, conv.stride, conv.padding, conv.dilation, conv.groups)


def _is_plain(conv: nn.Module) -> bool:
    """Not one that makes something of its weight first, or that pads with other than zeros."""
    return type(conv) is nn.Conv2d and conv.bias is None and conv.padding_mode == "zeros"


def _is_fixed(norm: nn.Module) -> bool:
    return isinstance(norm, _BatchNorm) and not norm.training and norm.track_running_stats and norm.affine

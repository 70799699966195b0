"""Batch norm over several processes in the calling convention of ``mmcv._ext``: the parts between the reductions.

Ioffe & Szegedy, "Batch Normalization" (2015). mmcv's layer, which unlike torch's takes empty batches, averages what
these parts compute over the processes. Statistics are float32.
"""

import torch
from torch import Tensor

__all__ = [
    "sync_bn_backward_data",
    "sync_bn_backward_param",
    "sync_bn_forward_mean",
    "sync_bn_forward_output",
    "sync_bn_forward_var",
]


def sync_bn_forward_mean(input: Tensor, mean: Tensor) -> None:
    """Write the mean (C,) of the input (B, C, S)."""
    mean.copy_(input.float().mean((0, 2)))


def sync_bn_forward_var(input: Tensor, mean: Tensor, var: Tensor) -> None:
    """Write the mean squared distance (C,) of the input (B, C, S) from ``mean`` (C,), which is that of all processes."""
    var.copy_((input.float() - _channels(mean)).square().mean((0, 2)))


def sync_bn_forward_output(
    input: Tensor,
    mean: Tensor,
    var: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    norm: Tensor,
    std: Tensor,
    output: Tensor,
    *,
    eps: float,
    momentum: float | Tensor,
    group_size: int,
) -> None:
    """Write the normalised batch, and move the running statistics.

    Args:
        input: (B, C, S).
        mean, var: (C,), of all processes.
        weight, bias: (C,), or None for 1 and 0.
        running_mean, running_var: (C,), moved towards the batch's; or None.
        norm: (B, C, S), written: the batch with mean 0 and variance 1.
        std: (C,), written.
        output: (B, C, S), written.
        eps: added to the variance.
        momentum: the batch's share in the running statistics.
        group_size: processes, each taken to have as many samples.
    """
    std.copy_((var + eps).sqrt())
    norm.copy_((input.float() - _channels(mean)) / _channels(std))
    output.copy_(norm if weight is None or bias is None else norm * _channels(weight) + _channels(bias))
    if running_mean is not None and running_var is not None:
        count = input.shape[0] * input.shape[2] * group_size
        running_mean.lerp_(mean.to(running_mean), torch.as_tensor(momentum).to(running_mean))
        unbiased = var * (count / (count - 1)) if count > 1 else var
        running_var.lerp_(unbiased.to(running_var), torch.as_tensor(momentum).to(running_var))


def sync_bn_backward_param(grad_output: Tensor, norm: Tensor, grad_weight: Tensor, grad_bias: Tensor) -> None:
    """Write the gradients (C,) of weight and bias for that of the output (B, C, S)."""
    gradient = grad_output.float()
    grad_weight.copy_((gradient * norm).sum((0, 2)))
    grad_bias.copy_(gradient.sum((0, 2)))


def sync_bn_backward_data(
    grad_output: Tensor,
    weight: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    norm: Tensor,
    std: Tensor,
    grad_input: Tensor,
) -> None:
    """Write the gradient of the input (B, C, S); those of weight and bias are the means over the processes."""
    count = grad_output.shape[0] * grad_output.shape[2]
    common = (_channels(grad_weight) * norm + _channels(grad_bias)) / count
    grad_input.copy_(_channels(weight) * (grad_output.float() - common) / _channels(std))


def _channels(vector: Tensor) -> Tensor:
    """(C,) -> (C, 1), to be spread over batch and samples."""
    return vector.unsqueeze(1)

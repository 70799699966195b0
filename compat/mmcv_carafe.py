"""CARAFE in the calling convention of ``mmcv._ext``: upsampling in which every output pixel has a kernel of its own.

Wang et al., "CARAFE: Content-Aware ReAssembly of FEatures" (2019), equation 4: an output pixel is the weighted sum of
the k x k input pixels around the one that it lies in, and pixels beyond the map count as zero. Written tap by tap, so
that k² times the input never lies in memory. The op that mmcv calls naive has the same values.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from .precision import at_least_float32

__all__ = ["carafe_backward", "carafe_forward", "carafe_naive_backward", "carafe_naive_forward"]


def carafe_naive_forward(
    features: Tensor, masks: Tensor, output: Tensor, *, kernel_size: int, group_size: int, scale_factor: int
) -> None:
    """Write the upsampled map.

    Args:
        features: (B, C, H, W).
        masks: (B, group_size * kernel_size², scale_factor * H, scale_factor * W), the kernel of each output pixel row
            by row, usually a softmax over its taps; used as they are.
        output: (B, C, scale_factor * H, scale_factor * W), written.
        kernel_size: k, odd.
        group_size: groups of channels that share kernels.
        scale_factor: output pixels per input pixel along each axis.
    """
    padded, kernels = _padded(features, kernel_size, group_size), _kernels(masks, group_size, scale_factor)
    total = torch.zeros_like(_by_group(output, group_size, scale_factor), dtype=padded.dtype)
    for seen, kernel in zip(_seen(padded, kernel_size), kernels.unbind(3), strict=True):
        total.addcmul_(seen, kernel)
    output.copy_(total.view(output.shape))


def carafe_naive_backward(
    top_grad: Tensor,
    features: Tensor,
    masks: Tensor,
    bottom_grad: Tensor,
    mask_grad: Tensor,
    *,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """Write the gradients of features and masks; ``top_grad`` is that of the output, the others are the forward's."""
    gradient = _by_group(at_least_float32(top_grad), group_size, scale_factor)
    padded, kernels = _padded(features, kernel_size, group_size), _kernels(masks, group_size, scale_factor)
    padded_grad, kernel_grads = torch.zeros_like(padded), []
    taps = (_seen(padded, kernel_size), _seen(padded_grad, kernel_size), kernels.unbind(3))
    for seen, seen_grad, kernel in zip(*taps, strict=True):
        kernel_grads.append((gradient * seen).sum(2))
        seen_grad.add_((gradient * kernel).sum((4, 6), keepdim=True))
    border, (_, _, H, W) = kernel_size // 2, features.shape
    bottom_grad.copy_(padded_grad[..., border : border + H, border : border + W].reshape(bottom_grad.shape))
    mask_grad.copy_(torch.stack(kernel_grads, 2).view(mask_grad.shape))


def carafe_forward(
    features: Tensor,
    masks: Tensor,
    rfeatures: Tensor,
    routput: Tensor,
    rmasks: Tensor,
    output: Tensor,
    *,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """:func:`carafe_naive_forward`, and the features into ``rfeatures``, which alone the backward is given."""
    rfeatures.copy_(features)
    sizes = {"kernel_size": kernel_size, "group_size": group_size, "scale_factor": scale_factor}
    carafe_naive_forward(features, masks, output, **sizes)


def carafe_backward(
    top_grad: Tensor,
    rfeatures: Tensor,
    masks: Tensor,
    rtop_grad: Tensor,
    rbottom_grad_hs: Tensor,
    rbottom_grad: Tensor,
    rmask_grad: Tensor,
    bottom_grad: Tensor,
    mask_grad: Tensor,
    *,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """:func:`carafe_naive_backward`; the buffers whose names begin with r are mmcv's scratch, but for ``rfeatures``."""
    sizes = {"kernel_size": kernel_size, "group_size": group_size, "scale_factor": scale_factor}
    carafe_naive_backward(top_grad, rfeatures, masks, bottom_grad, mask_grad, **sizes)


def _padded(features: Tensor, kernel_size: int, groups: int) -> Tensor:
    """(B, C, H, W) -> (B, G, C / G, H + k - 1, W + k - 1), at least float32."""
    border = kernel_size // 2
    return F.pad(at_least_float32(features), (border,) * 4).unflatten(1, (groups, -1))


def _by_group(maps: Tensor, groups: int, scale: int) -> Tensor:
    """(B, C, s * H, s * W) -> (B, G, C / G, H, s, W, s)."""
    return maps.unflatten(3, (-1, scale)).unflatten(2, (-1, scale)).unflatten(1, (groups, -1))


def _kernels(masks: Tensor, groups: int, scale: int) -> Tensor:
    """(B, G * k², s * H, s * W) -> (B, G, 1, k², H, s, W, s), the tap on axis 3; at least float32."""
    return _by_group(at_least_float32(masks), groups, scale).unsqueeze(2)


def _seen(padded: Tensor, kernel_size: int) -> Iterator[Tensor]:
    """What each tap of the kernels sees: k² views of (B, G, C / G, H, 1, W, 1)."""
    height, width = (size - kernel_size + 1 for size in padded.shape[-2:])
    for row in range(kernel_size):
        for column in range(kernel_size):
            seen = padded[..., row : row + height, column : column + width]
            yield seen.unsqueeze(-1).unsqueeze(4)

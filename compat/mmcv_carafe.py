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
    total = padded.new_zeros((scale_factor**2, *padded.shape[:3], *features.shape[2:]))
    for seen, kernel in zip(_seen(padded, kernel_size), kernels, strict=True):
        total.addcmul_(seen, kernel)
    output.copy_(_joined(total, scale_factor))


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
    gradient = _by_phase(at_least_float32(top_grad), group_size, scale_factor)
    padded, kernels = _padded(features, kernel_size, group_size), _kernels(masks, group_size, scale_factor)
    padded_grad, kernel_grads, product = torch.zeros_like(padded), [], torch.empty_like(gradient)
    taps = (_seen(padded, kernel_size), _seen(padded_grad, kernel_size), kernels)
    for seen, seen_grad, kernel in zip(*taps, strict=True):
        kernel_grads.append(torch.mul(gradient, seen, out=product).sum(3))
        for phase, weights in zip(gradient, kernel, strict=True):
            seen_grad.addcmul_(phase, weights)
    border, (_, _, H, W) = kernel_size // 2, features.shape
    bottom_grad.copy_(padded_grad[..., border : border + H, border : border + W].reshape(bottom_grad.shape))
    mask_grad.copy_(_joined(torch.stack(kernel_grads, 3), scale_factor))


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


def _by_phase(maps: Tensor, groups: int, scale: int) -> Tensor:
    """(B, C, s * H, s * W) -> (s², B, G, C / G, H, W): the pixels at each place within an input pixel, as a map."""
    split = maps.unflatten(3, (-1, scale)).unflatten(2, (-1, scale)).unflatten(1, (groups, -1))
    return split.permute(4, 6, 0, 1, 2, 3, 5).flatten(0, 1)


def _joined(phases: Tensor, scale: int) -> Tensor:
    """(s², B, G, C / G, H, W) -> (B, C, s * H, s * W)."""
    pixels = phases.unflatten(0, (scale, scale)).permute(2, 3, 4, 5, 0, 6, 1)
    return pixels.flatten(5, 6).flatten(3, 4).flatten(1, 2)


def _kernels(masks: Tensor, groups: int, scale: int) -> tuple[Tensor, ...]:
    """(B, G * k², s * H, s * W) -> for each of k² taps (s², B, G, 1, H, W), at least float32."""
    return _by_phase(at_least_float32(masks), groups, scale).unsqueeze(4).unbind(3)


def _seen(padded: Tensor, kernel_size: int) -> Iterator[Tensor]:
    """What each tap of the kernels sees: k² views of (B, G, C / G, H, W)."""
    height, width = (size - kernel_size + 1 for size in padded.shape[-2:])
    for row in range(kernel_size):
        for column in range(kernel_size):
            yield padded[..., row : row + height, column : column + width]

"""Deformable convolution by torchvision's operator, on the devices that only it has kernels for.

It differs where a sample lies exactly one cell outside the map, as at every border before offsets have learnt anything:
there it has a gradient to the offset, and mmcv and this package have none. It turns a location that is not a number into
an index. Both are kept from it: a sample that reaches no cell is moved to where it has neither value nor gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .deform_conv2d_geometry import Geometry, reached_samples, tap_places

__all__ = ["convolve", "differentiate", "serves"]


def serves(device: torch.device) -> bool:
    """Whether torchvision is there and has kernels for that device."""
    if device.type not in ("cpu", "cuda"):
        return False
    try:
        import torchvision.ops  # noqa: F401
    except ImportError:
        return False
    return _has_kernel(device.type.upper())


@torch.compiler.assume_constant_result
def _has_kernel(key: str) -> bool:
    """Whether the operator, of which a torchvision without its extension has the name or not even that, runs there."""
    name = "torchvision::deform_conv2d"
    return hasattr(torch.ops.torchvision, "deform_conv2d") and torch._C._dispatch_has_kernel_for_dispatch_key(name, key)


def convolve(input: Tensor, weight: Tensor, offset: Tensor, mask: Tensor | None, geometry: Geometry) -> Tensor:
    """The convolution, (B, O, Ho, Wo), of arguments as :func:`detassign.ops.deform_conv2d` takes them, of one dtype."""
    arguments, numbers = _arguments(input, weight, offset, mask, geometry)
    return torch.ops.torchvision.deform_conv2d(*arguments, *numbers)


def differentiate(
    grad: Tensor, input: Tensor, weight: Tensor, offset: Tensor, mask: Tensor | None, geometry: Geometry
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of input, weight, offset and mask (of no mask: empty) for that of the output, (B, O, Ho, Wo)."""
    arguments, numbers = _arguments(input, weight, offset, mask, geometry)
    arguments = [argument.contiguous() for argument in (grad, *arguments)]
    of_input, of_weight, of_offset, of_mask, _ = torch.ops.torchvision._deform_conv2d_backward(*arguments, *numbers)
    return of_input, of_weight, of_offset, of_mask


def _arguments(
    input: Tensor, weight: Tensor, offset: Tensor, mask: Tensor | None, geometry: Geometry
) -> tuple[list[Tensor], list[int]]:
    """The operator's tensors, and its numbers: geometry, groups, offset groups and whether there is a mask."""
    groups = input.shape[1] // weight.shape[1]
    offset_groups = offset.shape[1] // (2 * weight.shape[2] * weight.shape[3])
    offset, masked = _settled(input, weight, offset, mask, geometry)
    bias = weight.new_zeros(weight.shape[0])
    numbers = [*geometry.stride, *geometry.padding, *geometry.dilation, groups, offset_groups, mask is not None]
    return [input, weight, offset, input.new_zeros((len(input), 0)) if masked is None else masked, bias], numbers


def _settled(
    input: Tensor, weight: Tensor, offset: Tensor, mask: Tensor | None, geometry: Geometry
) -> tuple[Tensor, Tensor | None]:
    """Offset and mask, in which samples that reach no cell lie two cells outside and are not masked."""
    kernel, size = tuple(weight.shape[2:]), tuple(offset.shape[2:])
    places = tap_places(kernel, size, geometry, offset)
    by_tap = offset.unflatten(1, (-1, len(places), 2))
    reached = reached_samples(places + by_tap, tuple(input.shape[2:]))  # (B, offset groups, taps, Ho, Wo)
    settled = torch.where(reached.unsqueeze(3), by_tap, -2 - places).flatten(1, 3)
    return settled, mask if mask is None else torch.where(reached.flatten(1, 2), mask, 0)

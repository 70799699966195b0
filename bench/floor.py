"""What attention has to move and compute at least, whatever computes it."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor

__all__ = ["attention_bytes", "attention_multiply_adds", "rows_reached"]


def attention_bytes(inputs: tuple[Tensor, ...], backward: bool = False) -> int:
    """Bytes that `ms_deform_attn` has to move at least: every input it needs once, and every result once.

    Of the value only the rows count that some sample reaches. With `backward` the gradients' own reads and writes are
    added to those of the forward.

    Args:
        inputs: the op's five arguments, on one device.
    """
    value, _, _, locations, weights = inputs
    B, Q, H, _, _, _ = locations.shape
    read = rows_reached(*inputs[:4]) * value.shape[3] * value.element_size()
    points = sum(tensor.numel() * tensor.element_size() for tensor in (locations, weights))
    output = B * Q * H * value.shape[3] * value.element_size()
    forward = read + points + output
    whole = value.numel() * value.element_size()
    return forward + (read + 2 * points + output + whole if backward else 0)


def attention_multiply_adds(inputs: tuple[Tensor, ...], backward: bool = False) -> int:
    """Multiply-adds: each channel of each point's four cells once in the forward and twice in the backward."""
    forward = 4 * inputs[4].numel() * inputs[0].shape[3]
    return forward * (3 if backward else 1)


def rows_reached(value: Tensor, shapes: Tensor, starts: Tensor, locations: Tensor) -> int:
    """How many of the B * S * H rows of the value are a neighbour of some location."""
    reached = torch.zeros(value.shape[:3], dtype=torch.bool, device=value.device)
    image, head = (torch.arange(count, device=value.device) for count in (value.shape[0], value.shape[2]))
    image, head = image.view(-1, 1, 1, 1), head.view(1, 1, -1, 1)
    for level, ((height, width), start) in enumerate(zip(shapes.tolist(), starts.tolist(), strict=True)):
        x, y = (locations[:, :, :, level] * locations.new_tensor([width, height]) - 0.5).floor().long().unbind(-1)
        for down, right in product((0, 1), (0, 1)):
            row, column = y + down, x + right
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            places = (start + row * width + column)[inside]
            reached[image.expand_as(row)[inside], places, head.expand_as(row)[inside]] = True
    return int(reached.sum())

"""Sine position encodings: of the cells of a feature map, and of reference points and boxes.

DETR (arXiv 2005.12872, appendix A.4) for feature maps, Conditional DETR (arXiv 2108.06152) and DAB-DETR (arXiv
2201.12329, eq. 2) for queries. The families differ in temperature and in where a cell's centre lies.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def sine_encoding(values: Tensor, channels: int, temperature: float) -> Tensor:
    """Interleaved sine and cosine of angles at falling frequencies: (...,) radians -> (..., channels).

    >>> sine_encoding(torch.tensor(0.0), 4, 20.0).tolist()
    [0.0, 1.0, 0.0, 1.0]
    """
    index = torch.arange(channels, dtype=values.dtype, device=values.device)
    angle = values[..., None] / temperature ** (2 * (index // 2) / channels)
    return torch.stack((angle[..., 0::2].sin(), angle[..., 1::2].cos()), -1).flatten(-2)


def reference_encoding(
    reference: Tensor, channels: int, temperature: float = 10000.0, order: tuple[int, ...] = (1, 0, 2, 3)
) -> Tensor:
    """Encoding of points or boxes, `channels` for each coordinate.

    Args:
        reference: (..., K) shares of the image, K = 2 (x, y) or 4 (cx, cy, w, h).
        channels: per coordinate.
        temperature: 10000 in every family.
        order: coordinates in the order their blocks appear; y, x, w, h in all but two-stage Deformable DETR.

    Returns:
        (..., K * channels).
    """
    coordinates = reference.unbind(-1)  # a list of indices would be copied to the device, which waits
    chosen = torch.stack([coordinates[index] for index in order if index < len(coordinates)], -1)
    return sine_encoding(chosen * (2 * math.pi), channels, temperature).flatten(-2)


def grid_encoding(
    valid_rows: Tensor, valid_columns: Tensor, channels: int, temperature: float, offset: float
) -> Tensor:
    """Encoding of the cells of a feature map, normalised by each image's valid part.

    Rows and columns are encoded apart and then crossed, so it costs h + w and not h * w sines. What lies outside an
    image gets the value of its last valid cell; nothing attends to it.

    Args:
        valid_rows: (B, h) bool, the rows inside each image; from the top without gaps.
        valid_columns: (B, w) bool.
        channels: of the result; the first half encodes y, the second x.
        temperature: 10000 or 20.
        offset: added to the cells' numbers, which start at 1, before they are divided: 0, or -0.5 (Deformable DETR).

    Returns:
        (B, h, w, channels) float32.
    """
    y = _axis_encoding(valid_rows, channels // 2, temperature, offset)
    x = _axis_encoding(valid_columns, channels // 2, temperature, offset)
    shape = (y.shape[0], y.shape[1], x.shape[1], channels // 2)
    return torch.cat((y[:, :, None].expand(shape), x[:, None].expand(shape)), -1)


def _axis_encoding(valid: Tensor, channels: int, temperature: float, offset: float) -> Tensor:
    count = valid.cumsum(1, dtype=torch.float32)
    return sine_encoding((count + offset) / (count[:, -1:] + 1e-6) * (2 * math.pi), channels, temperature)

"""Where the taps of a convolution's kernel read, and which of its samples reach the map."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Geometry", "reached_samples", "steps", "tap_places"]

Pair = tuple[int, int]


class Geometry(NamedTuple):
    """Stride, padding and dilation, each for rows and for columns."""

    stride: Pair
    padding: Pair
    dilation: Pair

    @classmethod
    def of(cls, stride: int | Pair, padding: int | Pair, dilation: int | Pair) -> Geometry:
        """The geometry, where a number stands for both axes.

        Raises:
            ValueError: for what is no such number or pair, or too small.

        >>> Geometry.of(1, (0, 1), 2)
        Geometry(stride=(1, 1), padding=(0, 1), dilation=(2, 2))
        """
        named = zip(cls._fields, (stride, padding, dilation), (1, 0, 1), strict=True)
        return cls(*(_pair(*one) for one in named))


def _pair(name: str, value: int | Pair, least: int) -> Pair:
    pair = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(pair) != 2 or not all(_is_integer(one) and one >= least for one in pair):
        raise ValueError(f"Expected {name} to be one or two integers, at least {least}, but got {value!r}.")
    return pair


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def steps(size: tuple[int, ...], kernel: tuple[int, ...], geometry: Geometry) -> tuple[int, ...]:
    """How often a ``kernel`` (rows, columns) fits along each axis of a map of that ``size``; below one, not at all.

    >>> steps((5, 7), (3, 3), Geometry((1, 2), (0, 1), (1, 1)))
    (3, 4)
    """
    axes = zip(size, kernel, *geometry, strict=True)
    return tuple(
        (length + 2 * padding - dilation * (taps - 1) - 1) // stride + 1
        for length, taps, stride, padding, dilation in axes
    )


def tap_places(kernel: tuple[int, ...], size: tuple[int, ...], geometry: Geometry, like: Tensor) -> Tensor:
    """(kh * kw, 2, Ho, Wo), the row and the column that each tap reads without an offset; ``size`` is (Ho, Wo).

    >>> tap_places((1, 2), (1, 2), Geometry((1, 1), (0, 1), (1, 1)), torch.zeros(())).tolist()
    [[[[0.0, 0.0]], [[-1.0, 0.0]]], [[[0.0, 0.0]], [[0.0, 1.0]]]]
    """
    rows, columns = (
        torch.arange(taps, device=like.device)[:, None] * dilation
        + torch.arange(count, device=like.device) * stride
        - padding
        for taps, count, stride, padding, dilation in zip(kernel, size, *geometry, strict=True)
    )
    shape = (*kernel, *size)
    rows, columns = rows[:, None, :, None].expand(shape), columns[None, :, None].expand(shape)
    return torch.stack((rows, columns), 2).flatten(0, 1).to(like.dtype)


def reached_samples(locations: Tensor, size: tuple[int, ...]) -> Tensor:
    """(..., 2, Ho, Wo) rows and columns -> (..., Ho, Wo) bool, which lie less than a cell outside a map of that ``size``.

    >>> reached_samples(torch.tensor([-1.0, -0.5, 2.5, 3, torch.nan]).expand(2, 1, 5), (3, 3)).tolist()
    [[False, True, True, False, False]]
    """
    rows, columns = locations.unbind(-3)
    return (rows > -1) & (rows < size[0]) & (columns > -1) & (columns < size[1])

"""What ONNX has for ops traced as one, see `detassign.ops._portable.whole_ops`, and for a sort that torch leaves out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

LOWEST = -3.0e38  # below every score but that of a box that is none
MOST = 2**31 - 1  # boxes of a group that may be left
OUTSIDE = 3.0  # of a map, which ends at -1 and 1: no cell reaches as far as twice that


def translations() -> dict[Any, Callable[..., Any]]:
    """By operator of torch, for ``torch.onnx.export``."""
    known = torch.ops.detassign
    return {
        known.survivors.default: _survivors,
        known.attend_levels.default: _attend_levels,
        torch.ops.aten.sort.stable: _sort,
    }


def _survivors(boxes: Any, scores: Any, overlap: float, groups: Any, count: int) -> Any:
    """`detassign.ops.suppression.survivors` by ONNX's operator, whose classes are the groups."""
    from onnxscript import opset18 as op

    numbers = op.Reshape(_whole([*range(count)]), _whole([1, count, 1]))
    own = op.Equal(op.Unsqueeze(groups, _whole([1])), numbers)  # (B, groups, N)
    ranked = op.Where(own, op.Unsqueeze(scores, _whole([1])), _real(LOWEST))
    lowest = op.Constant(value_floats=[LOWEST])
    kept = op.NonMaxSuppression(boxes, ranked, _whole([MOST]), op.Constant(value_floats=[overlap]), lowest)
    places = op.Gather(kept, _whole([0, 2]), axis=1)  # of image and box
    ones = op.Expand(_real(1.0), op.Shape(kept, start=0, end=1))
    none = op.Expand(_real(0.0), op.Shape(scores))
    return op.Cast(op.ScatterND(none, places, ones), to=9)  # 9 is bool


def _attend_levels(value: Any, locations: Any, weights: Any, levels: Sequence[Any]) -> Any:
    """`detassign.ops.ms_deform_attn` by a GridSample for each level.

    Args:
        value: (B, S, H, D).
        locations: (B, Q, H, L, P, 2).
        weights: (B, Q, H, L, P).
        levels: start, height and width of each, numbers or values of the graph.

    Returns:
        (B, Q, H * D).
    """
    from onnxscript import opset18 as op

    (_, _, H, D), L, P = value.shape, locations.shape[3], locations.shape[4]
    Q = _size(locations, 1)
    maps = op.Reshape(op.Transpose(value, perm=[0, 2, 3, 1]), _whole([-1, D, _size(value, 1)]))  # (B * H, D, S)
    grids = op.Reshape(op.Transpose(locations, perm=[3, 0, 2, 1, 4, 5]), _whole([L, -1, Q, P, 2]))
    grids = op.Sub(op.Mul(grids, _real(2.0)), _real(1.0))
    far = _real(OUTSIDE)
    grids = op.Where(op.LessOrEqual(op.Abs(grids), far), grids, far)  # and where a location is not finite
    shares = op.Reshape(op.Transpose(weights, perm=[3, 0, 2, 1, 4]), _whole([L, -1, 1, Q, P]))
    summed = None
    for level in range(L):
        start, height, width = levels[3 * level : 3 * level + 3]
        end = levels[3 * level + 3] if level + 1 < L else MOST
        own = op.Slice(maps, _whole([start]), _whole([end]), _whole([2]))
        own = op.Reshape(own, _whole([0, 0, height, width]))
        index = op.Constant(value_int=level)
        read = op.GridSample(own, op.Gather(grids, index, axis=0), mode="bilinear", padding_mode="zeros")
        read = op.ReduceSum(op.Mul(read, op.Gather(shares, index, axis=0)), _whole([-1]), keepdims=0)
        summed = read if summed is None else op.Add(summed, read)
    return op.Transpose(op.Reshape(summed, _whole([-1, H * D, Q])), perm=[0, 2, 1])


def _sort(values: Any, stable: bool | None = None, dim: int = -1, descending: bool = False) -> Any:
    """torch's stable sort, which its exporter does not know: TopK of all, which puts the first of equals first."""
    from onnxscript import opset18 as op

    axis = dim % len(values.shape)
    return op.TopK(values, _whole([_size(values, axis)]), axis=axis, largest=int(descending), sorted=1)


def _real(number: float) -> Any:
    from onnxscript import opset18 as op

    return op.Constant(value_float=number)


def _size(value: Any, axis: int) -> Any:
    """A side of a value: a number, or a value of the graph where it is free."""
    from onnxscript import opset18 as op

    size = value.shape[axis]
    return size if isinstance(size, int) else op.Shape(value, start=axis, end=axis + 1)


def _whole(numbers: Sequence[Any]) -> Any:
    """Whole numbers, some of which may be values of the graph, as one tensor."""
    from onnxscript import opset18 as op

    if all(isinstance(each, int) for each in numbers):
        return op.Constant(value_ints=list(numbers))
    one = op.Constant(value_ints=[1])
    parts = [op.Constant(value_ints=[each]) if isinstance(each, int) else op.Reshape(each, one) for each in numbers]
    return op.Concat(*parts, axis=0)

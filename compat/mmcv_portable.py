"""mmcv's deformable convolutions for whoever writes a model into a file.

mmcv calls its op through an autograd function, which TorchScript cannot save, with buffers and casts that torch's ONNX
exporter loses names over. Where portable ops are asked for, mmcv's two functions are therefore ``detassign.ops`` itself.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

from torch import Tensor

from ..ops import deform_conv2d
from ..ops._portable import portable
from ..ops.deform_conv2d import Pair
from ..ops.deform_conv2d_geometry import Geometry
from .mmcv_deform_conv import read_blocks

__all__ = ["serve_portable_convolutions"]

Sides = int | Pair


def serve_portable_convolutions() -> None:
    """Have mmcv's functions, where they are imported by now, use the portable form when asked. Safe to call again."""
    for (module, name), form in FORMS.items():
        theirs = getattr(sys.modules.get(module), name, None)
        if theirs is not None and getattr(theirs, "__wrapped__", None) is not form:
            setattr(sys.modules[module], name, _either(form, theirs))


def _either(form: Callable[..., Tensor], theirs: Callable[..., Tensor]) -> Callable[..., Tensor]:
    @wraps(form)
    def chosen(*args: Any, **kwargs: Any) -> Tensor:
        return (form if portable() else theirs)(*args, **kwargs)

    return chosen


def _plain(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    stride: Sides = 1,
    padding: Sides = 0,
    dilation: Sides = 1,
    groups: int = 1,
    deform_groups: int = 1,
    bias: bool = False,
    im2col_step: int = 32,
) -> Tensor:
    """``mmcv.ops.deform_conv2d``; the numbers of groups follow from the shapes."""
    return deform_conv2d(input, offset, weight, None, stride, padding, dilation)


def _modulated(
    input: Tensor,
    offset: Tensor,
    mask: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sides = 1,
    padding: Sides = 0,
    dilation: Sides = 1,
    groups: int = 1,
    deform_groups: int = 1,
) -> Tensor:
    """``mmcv.ops.modulated_deform_conv2d``, larger offsets and masks included."""
    geometry = Geometry.of(stride, padding, dilation)
    offset, mask = read_blocks(offset, mask, input, weight, geometry, deform_groups)
    return deform_conv2d(input, offset, weight, bias, *geometry, mask)


FORMS = {
    ("mmcv.ops.deform_conv", "deform_conv2d"): _plain,
    ("mmcv.ops.modulated_deform_conv", "modulated_deform_conv2d"): _modulated,
}

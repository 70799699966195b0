"""What the fields of batches have in common: shapes and types that are checked, and changes to all of their tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

if TYPE_CHECKING:
    from .structures import Predictions
    from .targets import Targets

Batch = TypeVar("Batch", "Predictions", "Targets")


def check_shape(name: str, value: Tensor | None, shape: tuple[int, ...]) -> None:
    """Raise ValueError when a tensor that is there has another shape."""
    if value is not None and tuple(value.shape) != shape:
        raise ValueError(f"{name}: expected shape {shape}, got {tuple(value.shape)}")


def check_geometry(name: str, value: Tensor | None, shape: tuple[int, ...], images: int) -> None:
    """Raise ValueError when it has neither this shape, for all images, nor one such for each."""
    if value is not None and tuple(value.shape) not in (shape, (images, *shape)):
        raise ValueError(f"{name}: expected shape {shape} or {(images, *shape)}, got {tuple(value.shape)}")


def check_bool(name: str, value: Tensor | None) -> None:
    """Raise ValueError for a mask of another type."""
    if value is not None and value.dtype != torch.bool:
        raise ValueError(f"{name}: expected a bool tensor, got {value.dtype}")


def map_tensors(structure: Batch, change: Callable[[Tensor], Tensor]) -> Batch:
    """A copy of a dataclass with `change` applied to every tensor field."""
    tensors = {f.name: getattr(structure, f.name) for f in fields(structure)}
    return replace(structure, **{name: change(t) for name, t in tensors.items() if isinstance(t, Tensor)})

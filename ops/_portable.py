"""Whether ops are to be written in operators that every runtime has, as a file that leaves this package needs them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["portable", "portable_ops", "whole", "whole_ops"]

_asked = False  # of this process: torch.compile reads it without breaking its graph, which it does for a ContextVar
_whole = False


@contextmanager
def portable_ops() -> Iterator[None]:
    """Within it the compiled ops are traced as the plain torch that they stand for."""
    global _asked
    before, _asked = _asked, True
    try:
        yield
    finally:
        _asked = before


@contextmanager
def whole_ops() -> Iterator[None]:
    """Within it ops that plain torch spells out at length are traced as one: who traces brings a translation of each."""
    global _whole
    before, _whole = _whole, True
    try:
        yield
    finally:
        _whole = before


def portable() -> bool:
    """Whether somebody asked for plain torch, or exports to ONNX."""
    return _asked or _exporting_to_onnx()


def whole() -> bool:
    """Whether somebody traces with translations of its own."""
    return _whole


def _exporting_to_onnx() -> bool:
    """Whether ``torch.onnx.export``, either of its exporters, is tracing."""
    tracing = torch.compiler.is_exporting() or torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
    return tracing and torch.onnx.is_in_onnx_export()

"""Whether ops are to be written in operators that every runtime has, as a file that leaves this package needs them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["exporting_to_onnx", "portable", "portable_ops"]

_asked = False  # of this process: torch.compile reads it without breaking its graph, which it does for a ContextVar


@contextmanager
def portable_ops() -> Iterator[None]:
    """Within it the compiled ops are traced as the plain torch that they stand for."""
    global _asked
    before, _asked = _asked, True
    try:
        yield
    finally:
        _asked = before


def portable() -> bool:
    """Whether somebody asked for plain torch, or exports to ONNX."""
    return _asked or exporting_to_onnx()


def exporting_to_onnx() -> bool:
    """Whether ``torch.onnx.export``, either of its exporters, is tracing."""
    tracing = torch.compiler.is_exporting() or torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
    return tracing and torch.onnx.is_in_onnx_export()

"""Whether ops are to be written in operators that every runtime has, as a file that leaves this package needs them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

__all__ = ["exporting_to_onnx", "portable", "portable_ops"]

_asked = ContextVar("portable_ops", default=False)


@contextmanager
def portable_ops() -> Iterator[None]:
    """Within it the compiled ops are traced as the plain torch that they stand for."""
    token = _asked.set(True)
    try:
        yield
    finally:
        _asked.reset(token)


def portable() -> bool:
    """Whether somebody asked for plain torch, or exports to ONNX."""
    return _asked.get() or exporting_to_onnx()


def exporting_to_onnx() -> bool:
    """Whether ``torch.onnx.export``, either of its exporters, is tracing."""
    tracing = torch.compiler.is_exporting() or torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
    return tracing and torch.onnx.is_in_onnx_export()

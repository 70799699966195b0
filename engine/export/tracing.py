"""The graph of a network by torch.export, which ONNX and the pt2 format share."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from typing import Any

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from ...evidence.words import in_one_line
from .metadata import LEAST, SIDE
from .network import Network

MOST = 1024  # images of a batch


class CannotTrace(ValueError):
    """The network has a part that this format cannot hold."""


def axes(free: Sequence[str]) -> tuple[dict[int, Dim], dict[int, Dim]] | None:
    """The free axes of images and sizes, None where all are fixed."""
    dims = {"batch": Dim("batch", min=1, max=MOST)} if "batch" in free else {}
    if "height" in free:
        dims |= {side: Dim(side, min=LEAST, max=SIDE) for side in ("height", "width")}
    places = {"batch": 0, "height": 2, "width": 3}
    images = {places[name]: dim for name, dim in dims.items()}
    return (images, {0: dims["batch"]}) if dims else None


def traced(network: Network, example: tuple[Tensor, Tensor], free: Sequence[str]) -> ExportedProgram:
    """The graph, open in the free axes."""
    with _silent():
        return torch.export.export(
            network,
            example,
            dynamic_shapes=axes(free),
            strict=False,
            prefer_deferred_runtime_asserts_over_guards=bool(free),
        )


@contextmanager
def _silent() -> Iterator[None]:
    """Without the thousands of lines that torch prints of a graph it could not finish; the error says what matters."""
    before = logging.root.manager.disable
    logging.disable(max(before, logging.WARNING))
    try:
        with redirect_stderr(StringIO()):
            yield
    finally:
        logging.disable(before)


def freest(wanted: Sequence[str], make: Callable[[Sequence[str]], Any]) -> tuple[Any, tuple[str, ...]]:
    """What `make` made, and which of the wanted axes are free in it: all, the batch alone, or none.

    Raises:
        CannotTrace: when it can make nothing.
    """
    for free in dict.fromkeys((tuple(wanted), tuple(wanted[:1]), ())):
        try:
            return make(free), free
        except (ImportError, OSError, MemoryError):  # which no other axes would mend
            raise
        except Exception as error:  # torch's exporters fail in many ways
            failure = error
    raise _cannot_trace(failure) from failure


@contextmanager
def in_format() -> Iterator[None]:
    """Turns what torch raises of a part that a file of this format cannot hold into one sentence.

    Raises:
        CannotTrace: for any other error than those of disk and memory.
    """
    try:
        yield
    except (OSError, MemoryError):
        raise
    except Exception as error:  # torch's writers fail in many ways
        raise _cannot_trace(error) from error


def _cannot_trace(error: Exception) -> CannotTrace:
    return CannotTrace(f"the network cannot be written in this format ({in_one_line(error)})")

"""torch.export: a graph that torch runs, compiles and ahead-of-time compiles; with weights and metadata."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.export import ExportedProgram

from .metadata import KEY, Metadata, parse
from .network import Network
from .tracing import traced

TRUSTED = False  # parts of it are pickled


def trace(network: Network, example: tuple[Tensor, Tensor], free: Sequence[str]) -> ExportedProgram:
    """The network's graph."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        return traced(network, example, free)


def save(program: ExportedProgram, path: Path, metadata: Metadata) -> None:
    """Write a graph, and what the file says of itself; through memory, so that an error of the disk is an OSError."""
    content = BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(program, content, extra_files={KEY: metadata.text()})
    path.write_bytes(content.getbuffer())


def read(path: Path) -> tuple[Metadata, Callable[[np.ndarray, np.ndarray], list[np.ndarray]]]:
    """As of `onnx_file.read`; the file may run code and must be trusted.

    Raises:
        ValueError: for a file that is no archive of torch.export or not of `detassign export`.
    """
    extra = {KEY: ""}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            graph = torch.export.load(path, extra_files=extra).module()
    except Exception as error:
        raise ValueError(f"{path}: no file of torch.export, or a damaged one") from error
    about = parse(extra[KEY] or None, path)

    def run(images: np.ndarray, sizes: np.ndarray) -> list[np.ndarray]:
        with torch.no_grad():
            return [each.numpy() for each in graph(torch.from_numpy(images), torch.from_numpy(sizes))]

    return about, run

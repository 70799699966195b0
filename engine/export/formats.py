"""The formats that a detector is exported to, by name and by the ending of a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from ...assigners.registry import unknown_name
from . import onnx_file, pt2_file, torchscript_file
from .metadata import Metadata
from .network import Network

Run = Callable[[np.ndarray, np.ndarray], list[np.ndarray]]


class Format(Protocol):
    """A module of this folder."""

    TRUSTED: bool
    """Whether reading a file runs nothing that it brings."""

    def trace(self, network: Network, example: tuple[Tensor, Tensor], free: Sequence[str]) -> Any:
        """The network in the format's terms, with these axes free."""

    def save(self, traced: Any, path: Path, metadata: Metadata) -> None:
        """Write what was traced, and what the file says of itself."""

    def read(self, path: Path) -> tuple[Metadata, Run]:
        """What the file says of itself, and what runs it."""


FORMATS: dict[str, Format] = {"onnx": onnx_file, "torchscript": torchscript_file, "pt2": pt2_file}
SUFFIXES = {f".{name}": name for name in FORMATS}


def format_named(name: str) -> Format:
    """A format.

    Raises:
        ValueError: for an unknown one.
    """
    if name not in FORMATS:
        raise ValueError(unknown_name("format", name, FORMATS))
    return FORMATS[name]


def is_exported(path: Path) -> bool:
    """Whether a file's name is that of an exported one.

    >>> is_exported(Path("fcos.onnx")), is_exported(Path("best.pth"))
    (True, False)
    """
    return path.suffix.lower() in SUFFIXES

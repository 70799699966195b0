"""TorchScript: one file with weights and metadata, run by torch and torchvision, from Python or C++."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .metadata import AXES, KEY, Metadata, parse
from .network import Network

TRUSTED = False  # a program, which may write files


def trace(network: Network, example: tuple[Tensor, Tensor], free: Sequence[str]) -> torch.jit.ScriptModule:
    """The network's trace.

    Raises:
        ValueError: when it holds sizes of the example in axes that should be free.
    """
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        made = torch.jit.trace(network, example, strict=False, check_trace=False)
        if free:
            _check_free(made, network, example, free)
    return made


def save(made: torch.jit.ScriptModule, path: Path, metadata: Metadata) -> None:
    """Write a trace, and what the file says of itself; through memory, so that an error of the disk is an OSError."""
    content = BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(made, content, _extra_files={KEY: metadata.text()})
    path.write_bytes(content.getbuffer())


def _check_free(
    made: torch.jit.ScriptModule, network: Network, example: tuple[Tensor, Tensor], free: Sequence[str]
) -> None:
    """Run the trace at another size: what was a number while tracing stays one."""
    images, sizes = example
    now, more = (len(images), *images.shape[2:]), (1, 64, 32)
    grown = [side + step * (axis in free) for side, step, axis in zip(now, more, AXES, strict=True)]
    images = torch.rand(grown[0], 3, *grown[1:], generator=torch.Generator().manual_seed(0))
    sizes = torch.tensor([[grown[2], grown[1]]], dtype=torch.float).expand(grown[0], 2)
    ours, theirs = (
        module(images, sizes)[1].flatten(1).sort(1).values for module in (network, made)
    )  # equals in any order
    if ours.shape != theirs.shape or not torch.allclose(ours, theirs, atol=2e-2 if network.half_precision else 1e-4):
        raise ValueError(f"a trace keeps the {' and '.join(free)} that it was made with")


def read(path: Path) -> tuple[Metadata, Callable[[np.ndarray, np.ndarray], list[np.ndarray]]]:
    """As of `onnx_file.read`; the file is a program and must be trusted.

    Raises:
        ValueError: for a file that is no TorchScript or not of `detassign export`.
    """
    extra = {KEY: ""}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trace = torch.jit.load(str(path), map_location="cpu", _extra_files=extra)
    except Exception as error:
        raise ValueError(f"{path}: no TorchScript file, or a damaged one") from error
    text = extra[KEY]
    about = parse((text.decode(errors="replace") if isinstance(text, bytes) else text) or None, path)

    def run(images: np.ndarray, sizes: np.ndarray) -> list[np.ndarray]:
        with torch.no_grad():
            return [each.numpy() for each in trace(torch.from_numpy(images), torch.from_numpy(sizes))]

    return about, run

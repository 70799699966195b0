"""Loads the compiled kernels and remembers what loaded; the pure-torch references serve what did not."""

from __future__ import annotations

import importlib
import warnings
from dataclasses import dataclass

import torch  # the modules link to the libraries that this loads

__all__ = ["ExtensionStatus", "MissingKernelWarning", "extension_status", "has_kernels", "tell_missing"]


REMEDY = {
    "cpu": "install detassign where torch and a C++ compiler are, with pip's --no-build-isolation",
    "cuda": "install detassign with DETASSIGN_CUDA=1 and pip's --no-build-isolation where torch's CUDA compiler is",
}


OPERATORS = (  # of the CPU module, which owns the schemas
    "deform_conv2d",
    "deform_conv2d_backward",
    "dropout",
    "linear_assignment",
    "ms_deform_attn",
    "ms_deform_attn_backward",
    "sample_maps",
    "sample_maps_backward",
)


class MissingKernelWarning(UserWarning):
    """An op runs without the kernels that there are for its device, which are not loaded."""


@dataclass(frozen=True)
class ExtensionStatus:
    """Whether the compiled module of one backend is loaded and, where it is not, why."""

    backend: str
    loaded: bool
    error: str | None = None


def _load(backend: str, module: str) -> ExtensionStatus:
    try:
        importlib.import_module(f".{module}", __package__)  # registers its kernels
    except ModuleNotFoundError as error:
        return ExtensionStatus(backend, False, f"{error}: it was not built when detassign was installed")
    except ImportError as error:
        return ExtensionStatus(backend, False, str(error))
    return ExtensionStatus(backend, True)


def _of_these_sources(status: ExtensionStatus) -> ExtensionStatus:
    """The same, not loaded where an earlier build lacks an operator that today's Python knows."""
    lacking = [name for name in OPERATORS if status.loaded and not hasattr(torch.ops.detassign, name)]
    if not lacking:
        return status
    return ExtensionStatus(status.backend, False, f"they were built from earlier sources, without {lacking[0]}")


def _load_all() -> dict[str, ExtensionStatus]:
    cpu = _of_these_sources(_load("cpu", "_C"))
    if not cpu.loaded:
        return {
            "cpu": cpu,
            "cuda": ExtensionStatus("cuda", False, "the CPU module, which owns the schemas, is not loaded"),
        }
    return {"cpu": cpu, "cuda": _load("cuda", "_C_cuda")}


_STATUS = _load_all()
_LOADED = frozenset(backend for backend, status in _STATUS.items() if status.loaded)


def extension_status() -> dict[str, ExtensionStatus]:
    """The state of each backend's compiled module, by backend (``"cpu"``, ``"cuda"``).

    >>> sorted(extension_status())
    ['cpu', 'cuda']
    """
    return dict(_STATUS)


def has_kernels(backend: str) -> bool:
    """Whether compiled kernels serve tensors of device type ``backend``."""
    return backend in _LOADED


def tell_missing(backend: str, instead: str = "pure torch") -> None:
    """Warn, once in a process, that ``instead`` runs for the kernels of ``backend``; in a compiled graph not."""
    if (backend, instead) in _TOLD or backend not in _STATUS or torch.compiler.is_compiling():
        return
    _TOLD.add((backend, instead))
    warnings.warn(
        f"the compiled {backend} kernels of detassign are not loaded ({_STATUS[backend].error}), so slower {instead} runs "
        f"in their place; {REMEDY[backend]}",
        MissingKernelWarning,
        stacklevel=3,
    )


_TOLD: set[tuple[str, str]] = set()

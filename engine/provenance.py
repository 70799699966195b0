"""Where numbers come from: versions, commit, machine."""

from __future__ import annotations

import platform
import socket
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("detassign", "torch", "torchvision", "mmdet", "mmengine", "numpy")


def provenance(device: torch.device) -> dict[str, Any]:
    """What a result should be read with: versions, the source's commit where known, host and device."""
    return {
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        "commit": commit(Path(__file__).parent),
        "host": socket.gethostname(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else processor(),
    }


def commit(folder: Path) -> str | None:
    """The git commit that the package in this folder is of, with "-dirty" where it was changed since.

    None for an installed package, also inside somebody's repository, and where there is no git.
    """
    try:
        if _git(folder, "ls-files", "--error-unmatch", Path(__file__).name) is None:
            return None
        return _git(folder, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    except (OSError, subprocess.SubprocessError):
        return None


def processor() -> str:
    """The processor's name and the threads used."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name}, {torch.get_num_threads()} threads"


def _version(name: str) -> str | None:
    if name == "torch":
        return str(torch.__version__)  # with the build's tag
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git(folder: Path, *arguments: str) -> str | None:
    """What git says, or None where it refuses."""
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10)
    return done.stdout.strip() if done.returncode == 0 else None

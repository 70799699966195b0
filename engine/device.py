"""The device that a config runs on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from . import processes


def device_of(config: Mapping[str, Any]) -> torch.device:
    """The device a config runs on; "auto" is the GPU where there is one, and each process of a job has its own.

    Raises:
        ValueError: when the named device is not there.
    """
    name = config.get("device", "auto")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"device: expected auto, cpu or cuda[:index], got {name!r}") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device: {name!r} asked for, but torch sees no GPU; use cpu")
    return _own(device) if device.type == "cuda" and processes.count() > 1 else device


def _own(device: torch.device) -> torch.device:
    """This process's GPU."""
    if device.index is not None:
        raise ValueError(f"device: {device} is one GPU, and the job has {processes.count()} processes; use cuda")
    own, there = processes.local_rank(), torch.cuda.device_count()
    if own >= there:
        raise ValueError(f"device: process {own + 1} of this machine finds {there} GPUs; start one process for each")
    return torch.device("cuda", own)

"""What `detassign doctor` finds out: versions, kernels, devices. Needs torch alone: it has to run where things are missing."""

from __future__ import annotations

import importlib
import os
import platform
import warnings
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from .. import ops

CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")
WITHOUT_CUDA = {"linear_assignment": "on the host"}  # ops that have no CUDA kernel


def examine() -> dict[str, Any]:
    """All that `doctor` shows, as plain values. "errors", what keeps everything from training, and "warnings" are sentences.

    Raises for nothing that is broken.
    """
    mmcv, mmcv_warnings, errors = _mmcv()
    cuda, cuda_warnings = _cuda()
    cpu, cpu_warnings = _cpu()
    needed, needed_warnings = requirements()
    return {
        "versions": {"python": platform.python_version(), **needed},
        "mmcv": mmcv,
        "kernels": {name: status.error or "loaded" for name, status in ops.extension_status().items()},
        "cpu": cpu,
        "cuda": cuda,
        "ops": where_ops_run(),
        "errors": errors,
        "warnings": [*needed_warnings, *mmcv_warnings, *_kernel_warnings(), *cpu_warnings, *cuda_warnings],
    }


def requirements() -> tuple[dict[str, str | None], list[str]]:
    """Version of this package and of each that it names, None where absent; and what does not fit, as sentences."""
    versions: dict[str, str | None] = {"detassign": _version("detassign")}
    try:
        from packaging.requirements import Requirement
    except ImportError:
        return versions, ["packaging is not installed, so no version was looked at: pip install 'detassign[full]'"]
    sentences = []
    needs = map(Requirement, metadata.requires("detassign") or [])
    for need in (need for need in needs if need.marker is None or need.marker.evaluate({"extra": "full"})):
        name = "mmcv" if need.name == "mmcv-lite" and _version("mmcv") else need.name
        versions[name] = version = _version(name)
        if version is None:
            sentences.append(f"{name} is not installed: pip install '{need.name}{need.specifier}'")
        elif name == need.name and not need.specifier.contains(version, prereleases=True):
            sentences.append(f"{name} {version} is installed, but detassign is made for {name}{need.specifier}")
    if _version("mmcv") and _version("mmcv-lite"):
        sentences.append(
            "mmcv and mmcv-lite are both installed and overwrite each other: uninstall one, reinstall the other"
        )
    return dict(sorted(versions.items())), sentences


def where_ops_run() -> dict[str, dict[str, str]]:
    """Op -> device type -> "compiled" or "reference" (pure torch)."""
    names = [name for name in ops.__all__ if getattr(ops, name).__module__ == f"{ops.__name__}.{name}"]
    return {name: {backend: _form(name, backend) for backend in ops.extension_status()} for name in names}


def _form(op: str, backend: str) -> str:
    if op in WITHOUT_CUDA and backend == "cuda":
        return WITHOUT_CUDA[op]
    compiled = ops.extension_status()[backend].loaded and hasattr(torch.ops.detassign, op)
    return "compiled" if compiled else "reference"


def _kernel_warnings() -> list[str]:
    status = ops.extension_status()
    needed = {"cpu": True, "cuda": torch.cuda.is_available()}
    return [
        f"the compiled {name} kernels are not loaded, so slower pure torch runs instead: {status[name].error}"
        for name in status
        if needed[name] and not status[name].loaded
    ]


def _mmcv() -> tuple[dict[str, str], list[str], list[str]]:
    """Whose compiled ops mmdet gets, whether they work, and what keeps everything from training."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            from ..compat import mmcv_flavour

            flavour = mmcv_flavour()
            importlib.import_module("mmdet.models")
        except Exception as error:  # whatever is broken is what a doctor is asked about
            return {"flavour": "does not import"}, [], [f"mmdet does not import, so nothing trains: {_line(error)}"]
        try:
            importlib.import_module("detassign.engine.train")
            errors = []
        except Exception as error:
            errors = [f"a package that training needs does not import, so nothing trains: {_line(error)}"]
    sentences = [_line(warning.message) for warning in said if "compiled ops do not load" in str(warning.message)]
    if flavour == "lite" and _version("mmcv") and not sentences:
        sentences = ["mmcv's compiled ops do not load; torchvision's are used instead"]
    served = "mmcv's own extension" if flavour == "full" else "torchvision and torch, through detassign.compat"
    problems = {device: problem for device in _device_types() if (problem := _nms_problem(device))}
    errors += [f"{problem}; so nothing trains" for device, problem in problems.items() if device == "cpu"]
    sentences += [problem for device, problem in problems.items() if device != "cpu"]
    return {"flavour": flavour, "ops_served_by": served}, sentences, errors


def _nms_problem(device: str) -> str | None:
    """One sentence when torchvision's compiled ops do not work on a device; nms stands for all."""
    from torchvision.ops import nms

    try:
        nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]], device=device), torch.ones(1, device=device), 0.5)
    except Exception as error:
        remedy = "install the torchvision made for this torch"
        return f"torchvision's compiled ops do not run on {device}; {remedy}: {_line(error)}"
    return None


def _device_types() -> list[str]:
    return ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


def _cpu() -> tuple[dict[str, Any], list[str]]:
    threads, usable = torch.get_num_threads(), _usable_cpus()
    facts = {
        "capability": torch.backends.cpu.get_cpu_capability(),
        "threads": threads,
        "usable_cpus": usable,
        "machine": platform.machine(),
    }
    if threads <= usable:
        return facts, []
    return facts, [f"torch uses {threads} threads on {usable} usable CPUs, which is slow: set OMP_NUM_THREADS={usable}"]


def _usable_cpus() -> int:
    """CPUs that this process may use: its affinity and its control group's quota considered."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = map(int, CPU_QUOTA.read_text().split())
    except (OSError, ValueError):  # no control groups, or no limit ("max")
        return allowed
    return max(1, min(allowed, round(quota / period)))


def _cuda() -> tuple[dict[str, Any], list[str]]:
    """torch's CUDA and the devices it sees, and what it says when it cannot use one."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    facts: dict[str, Any] = {"built_for": torch.version.cuda or "no CUDA", "devices": count}
    for index in range(count):
        device = torch.cuda.get_device_properties(index)
        size = f"{device.total_memory / 2**30:.0f} GiB"
        facts[f"cuda:{index}"] = f"{device.name}, {size}, capability {device.major}.{device.minor}"
    return facts, [_line(warning.message) for warning in said]


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _line(problem: object) -> str:
    """The first line of what went wrong."""
    return str(problem).strip().partition("\n")[0] or type(problem).__name__

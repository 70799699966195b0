"""What a run came to: summary.json, from its metrics and what was counted on the way."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from . import processes
from .device import device_of
from .evaluation import CLASSES
from .files import write_json
from .hooks import peak_memory_bytes, read_metrics
from .loops import EMA
from .precision import precision_of
from .provenance import provenance

__all__ = ["METRICS", "SUMMARY", "summarise"]

METRICS, SUMMARY = "metrics.jsonl", "summary.json"


def summarise(
    config: Mapping[str, Any],
    work_dir: Path,
    told: Mapping[str, Any],
    model: nn.Module,
) -> dict[str, Any]:
    """What a run came to, written to SUMMARY; time and memory are the first process's."""
    lines = read_metrics(work_dir / METRICS)
    steps = [line["seconds"] for line in lines if "seconds" in line]
    evaluations = [line for line in lines if "AP" in line]
    last = evaluations[-1] if evaluations else {}
    seconds = statistics.median(steps) if steps else 0.0
    summary = {
        "name": config["name"],
        "seed": config["seed"],
        "steps": len(steps),
        "seconds_per_step": seconds,
        "assignment_share": told["assignment_seconds_per_step"] / seconds if seconds else 0.0,
        **told,
        "peak_memory_bytes": peak_memory_bytes(),
        "precision": precision_of(config).name,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "max_detections": config["evaluation"]["max_detections"],
        "metrics": _scores(last),
        "ema": {"decay": config["schedule"].get("ema"), "metrics": _scores(last[EMA])} if EMA in last else None,
        **provenance(device_of(config)),
        "processes": processes.count(),
        "init": config.get("init"),
        "telemetry": [_look(line) for line in lines if "telemetry" in line] or None,
        "curve": [_without_classes(line) for line in evaluations],
    }
    write_json(summary, work_dir / SUMMARY)
    return summary


def _look(line: Mapping[str, Any]) -> dict[str, Any]:
    """What a report shows of an epoch's telemetry; all of it is in the metrics."""
    probe, steps = (line["telemetry"].get(part) or {} for part in ("probe", "steps"))
    seen = {name: probe.get(name) for name in ("instability", "moved")}
    return {"epoch": line["epoch"], **seen, "without_by_size": steps.get("without_by_size")}


def _scores(line: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in line.items() if key.startswith("AP") or key == CLASSES}


def _without_classes(line: Mapping[str, Any]) -> dict[str, Any]:
    """A point of the curve, in which every class would be too much."""
    ema = {EMA: _without_classes(line[EMA])} if EMA in line else {}
    return {key: line[key] for key in line if key not in ("lr", CLASSES, EMA)} | ema

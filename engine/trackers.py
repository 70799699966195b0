"""What a run writes to metrics.jsonl, in TensorBoard, MLflow and Weights & Biases as well, through mmengine's backends."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mmengine.config import Config
from mmengine.visualization import BaseVisBackend, MLflowVisBackend, TensorboardVisBackend, WandbVisBackend

from ..assigners.registry import unknown_name
from ..evidence.words import in_one_line

__all__ = ["TRACKERS", "Trackers", "check_trackers", "scalars"]

SAID = ("schedule", "input", "evaluation", "seed", "model")  # of the config, to MLflow, whose values are short
FILES = ("config.json", "metrics.jsonl", "train.log")  # of the run, to MLflow
FORBIDDEN = re.compile(r"[^\w./: -]")  # in MLflow's names


class _RunInMLflow(MLflowVisBackend):
    """mmengine's, to which the run's own FILES go when it ends; mmengine would look for files in MLflow's store as well."""

    def __init__(self, save_dir: str, **named: Any) -> None:
        super().__init__(save_dir, artifact_suffix=(), **named)

    def close(self) -> None:
        """Hand the files over, and end the run."""
        try:
            for file in (Path(self.cfg.work_dir) / name for name in FILES):
                if file.is_file():
                    self.experiment.log_artifact(str(file))
        finally:
            super().close()


def _tensorboard(folder: Path) -> BaseVisBackend:
    return TensorboardVisBackend(str(folder / "tensorboard"))


def _mlflow(folder: Path) -> BaseVisBackend:
    own = folder.absolute() / "mlflow"  # MLflow 3 keeps numbers in a database, and files beside it
    place = os.environ.get("MLFLOW_TRACKING_URI")
    kept = {} if place else {"artifact_location": (own / "artifacts").as_uri()}
    named = {"exp_name": os.environ.get("MLFLOW_EXPERIMENT_NAME", "detassign"), "run_name": folder.name}
    uri = place or f"sqlite:///{own / 'mlflow.db'}"
    return _RunInMLflow(str(own), tracking_uri=uri, tracked_config_keys=SAID, **named, **kept)


def _wandb(folder: Path) -> BaseVisBackend:
    over_steps = [{"name": "*", "step_metric": "steps"}]
    return WandbVisBackend(str(folder / "wandb"), {"name": folder.name}, define_metric_cfg=over_steps)


TRACKERS: dict[str, Callable[[Path], BaseVisBackend]] = {
    "tensorboard": _tensorboard,
    "mlflow": _mlflow,
    "wandb": _wandb,
}
"""Name, which is that of the package it needs, too -> what writes there for a run's folder."""


def check_trackers(names: Sequence[str]) -> None:
    """Raise ValueError for a name that is none, and where the package it needs is missing."""
    for name in names:
        if name not in TRACKERS:
            raise ValueError(unknown_name("log", name, TRACKERS))
        if find_spec(name) is None:
            raise ValueError(
                f"log: {name} is not installed; 'pip install {name}', or leave it out: metrics.jsonl has the same numbers"
            )


class Trackers:
    """Where the lines of a run's metrics go besides its own file.

    Args:
        names: of TRACKERS.
        folder: of the run, which they are told as its name.
        config: of the run.
    """

    def __init__(
        self, names: Sequence[str] = (), folder: Path = Path(), config: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        self.backends = {name: TRACKERS[name](folder) for name in names}
        for backend in self.backends.values():
            backend.add_config(Config({"work_dir": str(folder), **{name: config.get(name) for name in SAID}}))

    def __call__(self, lines: Sequence[Mapping[str, Any]]) -> None:
        for line in lines if self.backends else ():
            found = {**scalars(line), "steps": line["step"], "epoch": line["epoch"]}
            for backend in self.backends.values():
                backend.add_scalars(found, step=line["step"])

    def close(self) -> list[str]:
        """What was told is written. The run is over, so what keeps a tracker from that is a note, and not raised."""
        notes = []
        for name, backend in self.backends.items():
            try:
                backend.close()
            except Exception as error:  # a server that is gone, a full disk: whatever a tracker's package raises
                why = in_one_line(error)
                notes.append(f"log: {name} may miss the end of this run: {why}; metrics.jsonl has all of it")
        return notes


def scalars(line: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a line of metrics, by names in groups.

    >>> scalars({"step": 4, "epoch": 1, "loss": 0.5, "lr": 0.01})
    {'train/loss': 0.5, 'train/lr': 0.01}
    >>> scalars({"step": 4, "epoch": 1, "AP": 0.2, "classes": {"disc": 0.3}, "ema": {"AP": 0.25}})
    {'val/AP': 0.2, 'val/classes/disc': 0.3, 'val/ema/AP': 0.25}
    >>> scalars({"step": 4, "epoch": 1, "telemetry": {"probe": {"moved_by_size": {"small": 0.1, "large": None}}}})
    {'telemetry/probe/moved_by_size/small': 0.1}
    """
    rest = {name: value for name, value in line.items() if name not in ("step", "epoch")}
    group = "" if "telemetry" in rest else "val/" if "AP" in rest else "train/"
    return {FORBIDDEN.sub("_", name): value for name, value in _numbers(rest, group)}


def _numbers(values: Mapping[str, Any], group: str) -> Iterator[tuple[str, float]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{group}{name}/")
        elif isinstance(value, int | float) and not isinstance(value, bool) and value == value:
            yield f"{group}{name}", value

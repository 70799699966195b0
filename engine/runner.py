"""mmengine's runner as this project uses it: quiet, on the config's device, at the pace that is wanted now."""

from __future__ import annotations

import io
import logging
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from mmengine.hooks import DistSamplerSeedHook, IterTimerHook, ParamSchedulerHook
from mmengine.logging import MMLogger
from mmengine.model import revert_sync_batchnorm
from mmengine.runner import BaseLoop, Runner
from torch import nn

from ..assigners import AssignmentWarning
from ..ops import MissingKernelWarning
from . import processes
from .averaging import WeightAverage
from .hooks import RunInfo
from .loops import Evaluation, Steps
from .notes import Note
from .resuming import catch_up

__all__ = ["QuietRunner", "calm", "runner_basics"]

LOG = "train.log"


class QuietRunner(Runner):
    """mmengine's runner whose log goes to LOG in the run's folder and not to the terminal.

    Args:
        average: is measured beside the weights.
        parts: of a batch, which go through the model one after another.
        pace: configs of schedulers that a resumed run follows in place of those in its checkpoint.
        positional, named: as mmengine's, which makes its loops as soon as somebody asks how long they are.
    """

    def __init__(
        self,
        *positional: Any,
        average: WeightAverage | None = None,
        parts: int = 1,
        pace: Sequence[Mapping[str, Any]] | None = None,
        **named: Any,
    ) -> None:
        self.average, self.parts, self.pace = average, parts, pace
        super().__init__(*positional, **named)

    def resume(self, filename: str, **named: Any) -> None:
        """mmengine's, at the pace that is wanted now."""
        rates = [group["initial_lr"] for group in self.optim_wrapper.param_groups]
        super().resume(filename, **named)
        if self.pace is not None:
            catch_up(self, self.pace, rates)

    def build_logger(self, log_level: int | str = "INFO", log_file: str | None = None, **named: Any) -> MMLogger:
        logger = super().build_logger(log_level, log_file or str(Path(self.work_dir) / LOG), **named)
        _silence(logger)
        return logger

    def build_train_loop(self, loop: Any) -> BaseLoop:
        """mmengine's, or one whose steps take their batches in parts."""
        if isinstance(loop, BaseLoop) or self.parts == 1:
            return super().build_train_loop(loop)
        settings = {name: loop[name] for name in ("max_epochs", "val_interval")}
        return Steps(self, self._train_dataloader, self.parts, **settings)

    def build_val_loop(self, loop: Any) -> Evaluation:
        """Of the weights, and of their average."""
        return Evaluation(self, self._val_dataloader, self._val_evaluator, self.average)

    def wrap_model(self, _: Any, model: nn.Module) -> nn.Module:
        """The model where it is, with gradients averaged over processes; mmengine would move it to the first GPU."""
        return processes.parallel(model if processes.count() > 1 else revert_sync_batchnorm(model))

    def load_checkpoint(self, *arguments: Any, **named: Any) -> Any:
        """mmengine's, which prints that it does so."""
        with redirect_stdout(io.StringIO()):
            return super().load_checkpoint(*arguments, **named)

    def dump_config(self) -> None:
        """Nothing: the resolved config is in the folder already, and mmengine has none to write."""


def runner_basics(config: Mapping[str, Any], work_dir: Path) -> dict[str, Any]:
    return {
        "default_scope": "mmdet",
        "launcher": "none" if processes.count() == 1 else "pytorch",
        "randomness": {"seed": config["seed"]},
        "experiment_name": f"{work_dir.name}-{time.time_ns()}",
        "visualizer": {"type": "Visualizer", "vis_backends": None, "name": f"none-{time.time_ns()}"},
        "default_hooks": {
            "runtime_info": RunInfo(),
            "timer": IterTimerHook(),
            "sampler_seed": DistSamplerSeedHook(),
            "param_scheduler": ParamSchedulerHook(),
            "checkpoint": None,
            "logger": None,
        },
    }


class calm(warnings.catch_warnings):
    """Keeps third parties' warnings and start-up talk off the terminal, and lets this project's through."""

    def __init__(self) -> None:
        super().__init__()

    def __enter__(self) -> None:
        super().__enter__()
        warnings.simplefilter("ignore")
        warnings.filterwarnings("default", category=AssignmentWarning)
        warnings.filterwarnings("default", category=MissingKernelWarning)
        warnings.filterwarnings("always", category=Note)
        MMLogger.get_current_instance()  # the logger of last resort, which talks to the terminal
        for logger in MMLogger._instance_dict.values():
            _silence(logger)


def _silence(logger: MMLogger) -> None:
    for handler in logger.handlers:
        if type(handler) is logging.StreamHandler:
            handler.setLevel(logging.CRITICAL)

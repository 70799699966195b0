"""Training and testing a resolved config on mmengine's loop."""

from __future__ import annotations

import io
import logging
import statistics
import time
import warnings
from collections.abc import Container, Mapping
from contextlib import redirect_stdout
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import (
    CheckpointHook,
    DistSamplerSeedHook,
    IterTimerHook,
    ParamSchedulerHook,
    SyncBuffersHook,
)
from mmengine.logging import MMLogger
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import OPTIMIZERS, AmpOptimWrapper, OptimWrapper
from mmengine.runner import Runner
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..assigners import AssignmentWarning
from . import imports, processes
from .build import Detector, build_model, load_checkpoint, warn_of_cold_start
from .config import read, source_of, validate
from .datasets import eval_loader, train_loader
from .device import device_of
from .evaluation import AveragePrecision
from .files import write_json
from .hooks import AssignmentStatistics, EpochSeed, MetricsFile, ProgressBar, RunInfo, peak_memory_bytes, read_metrics
from .progress import progress_bar
from .reasons import reason

CONFIG, METRICS, SUMMARY, LOG = "config.json", "metrics.jsonl", "summary.json", "train.log"
LAST = "last_checkpoint"  # mmengine's pointer file


class QuietRunner(Runner):
    """mmengine's runner whose log goes to LOG in the run's folder and not to the terminal."""

    def build_logger(self, log_level: int | str = "INFO", log_file: str | None = None, **named: Any) -> MMLogger:
        logger = super().build_logger(log_level, log_file or str(Path(self.work_dir) / LOG), **named)
        _silence(logger)
        return logger

    def wrap_model(self, _: Any, model: nn.Module) -> nn.Module:
        """The model where it is, with gradients averaged over processes; mmengine would move it to the first GPU."""
        return processes.parallel(model if processes.count() > 1 else revert_sync_batchnorm(model))

    def load_checkpoint(self, *arguments: Any, **named: Any) -> Any:
        """mmengine's, which prints that it does so."""
        with redirect_stdout(io.StringIO()):
            return super().load_checkpoint(*arguments, **named)

    def dump_config(self) -> None:
        """Nothing: the resolved config is in the folder already, and mmengine has none to write."""


def train(config: Mapping[str, Any], work_dir: Path, resume: bool = False, quiet: bool = False) -> dict[str, Any]:
    """Train, evaluating on the way; leaves config, checkpoints, metrics, log and summary in `work_dir`.

    In a job of several processes (`processes.joined`) each trains on its share of every batch, and the first one writes.

    Args:
        config: resolved.
        work_dir: a new or empty folder, or with `resume` one that an interrupted run of the same config left.
        resume: go on from the last checkpoint, if there is one.
        quiet: no progress bar.

    Returns:
        The summary: last metrics, seconds per step, assignment statistics, peak memory.

    Raises:
        ValueError, OSError: for a folder in use, a config of another run, and whatever data or model refuse.
    """
    model, observed = _seeded_model(config), AssignmentStatistics()
    if processes.is_first() and not resume:
        warn_of_cold_start(config, model)
    metrics = MetricsFile(work_dir / METRICS)
    bar = ProgressBar(config["name"], metrics, quiet or not processes.is_first())
    loop = _loop(config, model)
    hooks = [metrics, observed, EpochSeed(config["seed"]), SyncBuffersHook(), bar]
    processes.once(partial(_prepare_folder, config, work_dir, resume))  # what is refused by now leaves no folder
    model.observer = observed
    with calm():
        basics = _runner_basics(config, work_dir)
        runner = QuietRunner(
            model, str(work_dir), **loop, custom_hooks=hooks, resume=_goes_on(work_dir, resume), **basics
        )
        try:
            runner.train()
        finally:
            bar.stop()
            model.observer = None
            if processes.is_first():
                _remove_if_empty(Path(runner.log_dir))
    watched = observed.summary()
    return processes.once(partial(_summary, config, work_dir, watched, model))


def evaluate(config: Mapping[str, Any], checkpoint: Path, split: str = "val") -> dict[str, float]:
    """AP of a checkpoint on a split of the config's data; writes nothing."""
    with calm():
        model, source = build_model(config, initialise=False), source_of(config)
        load_checkpoint(model, checkpoint)
        loader = eval_loader(source, config["input"], _eval_batch_size(config), split)
        metric = AveragePrecision(source, split, config["evaluation"]["max_detections"])
        model.to(device_of(config)).eval()
        with progress_bar(config["name"], len(loader), quiet=not processes.is_first()) as advance, torch.no_grad():
            for batch in loader:
                metric.process(batch, [sample.to_dict() for sample in model.test_step(batch)])
                advance()
        return metric.evaluate(len(loader.dataset))


def find_config(folder: Path, trust: bool = False, given: Container[str] = ()) -> dict[str, Any]:
    """The config of a run's folder, whose code is loaded.

    Args:
        folder: of the run.
        trust, given: as of `imports.restore`.

    Raises:
        OSError, ValueError: when the config is missing or none, and for code that may not run.
    """
    config = read(folder / CONFIG)
    validate(config, str(folder / CONFIG))
    imports.restore(config, folder, trust, given)
    return config


def find_run(folder: Path, trust: bool = False, given: Container[str] = ()) -> tuple[dict[str, Any], Path]:
    """The config and the last checkpoint of a run's folder, whose code is loaded; arguments as of `find_config`.

    Raises:
        FileNotFoundError: when the folder, its config or its checkpoint is missing.
        ValueError: as `find_config` does.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"run folder {folder} does not exist")
    config = find_config(folder, trust, given)
    pointer = folder / LAST
    if not pointer.is_file():
        raise FileNotFoundError(f"run folder {folder} holds no checkpoint yet")
    return config, folder / Path(pointer.read_text().strip()).name


def _seeded_model(config: Mapping[str, Any]) -> Detector:
    torch.manual_seed(config["seed"])
    with calm():
        model = build_model(config)
    return model.to(device_of(config), memory_format=torch.channels_last)  # a tenth faster on CPUs, more on GPUs


def _loop(config: Mapping[str, Any], model: nn.Module) -> dict[str, Any]:
    """What the runner's loop is made of: data, optimizer, schedule, evaluation."""
    schedule, evaluation, source = config["schedule"], config["evaluation"], source_of(config)
    loader = train_loader(source, config["input"], processes.share(schedule["batch_size"]), config["seed"])
    return {
        "train_dataloader": loader,
        "val_dataloader": eval_loader(source, config["input"], _eval_batch_size(config)),
        "train_cfg": {"by_epoch": True, "max_epochs": schedule["epochs"], "val_interval": evaluation["every"]},
        "val_cfg": {},
        "val_evaluator": [AveragePrecision(source, "val", evaluation["max_detections"])],
        "optim_wrapper": _optimizer(model, config),
        "param_scheduler": _schedulers(schedule, len(loader)),
    }


def _eval_batch_size(config: Mapping[str, Any]) -> int:
    """Images that each process evaluates together."""
    return config["evaluation"].get("batch_size") or max(1, config["schedule"]["batch_size"] // processes.count())


def _goes_on(work_dir: Path, resume: bool) -> bool:
    """Whether there is a checkpoint to go on from, which all processes must see.

    Raises:
        ValueError: when this process does not.
    """
    there = resume and (work_dir / LAST).is_file()
    if processes.once(lambda: there) and not there:
        raise ValueError(f"--resume: not all processes see the checkpoints in {work_dir}; share that folder")
    return there


def _runner_basics(config: Mapping[str, Any], work_dir: Path) -> dict[str, Any]:
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
            "checkpoint": CheckpointHook(
                interval=1, max_keep_ckpts=2
            ),  # while one is written, the one before it is there
            "logger": None,
        },
    }


def _optimizer(model: nn.Module, config: Mapping[str, Any]) -> OptimWrapper:
    if config["amp"] and device_of(config).type != "cuda":
        raise ValueError("--amp: mixed precision training needs a GPU; leave it out on a CPU")
    schedule = config["schedule"]
    settings = {key: value for key, value in schedule["optimizer"].items() if key != "type"}
    settings["lr"] *= schedule["batch_size"] / schedule["base_batch_size"]
    optimizer = OPTIMIZERS.get(schedule["optimizer"]["type"])
    if optimizer is None:
        raise ValueError(f"schedule.optimizer.type: torch has no optimizer {schedule['optimizer']['type']!r}")
    if "fused" in signature(optimizer).parameters:
        settings.setdefault("fused", True)  # one kernel per group; a third of the time on small models
    wrapper = AmpOptimWrapper if config["amp"] else OptimWrapper
    clip = {"max_norm": schedule["clip"]} if schedule["clip"] else None
    groups = parameter_groups(model, schedule, settings["lr"], settings.get("weight_decay", 0.0))
    try:
        return wrapper(optimizer=optimizer(groups, **settings), clip_grad=clip)
    except Exception as error:  # each optimizer complains in its way
        raise ValueError(
            f"schedule.optimizer: {schedule['optimizer']['type']} refuses its arguments ({reason(error)})"
        ) from error


def parameter_groups(
    model: nn.Module, schedule: Mapping[str, Any], lr: float, weight_decay: float
) -> list[dict[str, Any]]:
    """Parameters that share rate and decay together: a handful of groups, so an optimizer step is a handful of kernels.

    Biases (those of norms aside) have `schedule["bias"]`'s factors, norms their own decay, the backbone its own rate;
    parameters whose name holds one of `schedule["slow"]["names"]`, if any, learn at its factor of the rate.
    """
    norms = {
        f"{name}."
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm | nn.GroupNorm | nn.LayerNorm)
    }
    slow = schedule.get("slow") or {"names": (), "lr_mult": 1.0}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        module, _, last = name.rpartition(".")
        rate, decay = lr, weight_decay
        if f"{module}." in norms:
            decay *= schedule["norm_decay_mult"]
        elif last == "bias" or last.endswith("_bias"):  # in_proj_bias of attention
            rate, decay = rate * schedule["bias"]["lr_mult"], decay * schedule["bias"]["decay_mult"]
        if name.startswith("backbone."):
            rate *= schedule["backbone_lr_mult"]
        if any(part in name for part in slow["names"]):
            rate *= slow["lr_mult"]
        groups.setdefault((rate, decay), []).append(parameter)
    return [{"params": parameters, "lr": rate, "weight_decay": decay} for (rate, decay), parameters in groups.items()]


def _schedulers(schedule: Mapping[str, Any], steps_per_epoch: int) -> list[dict[str, Any]]:
    """Warm-up by step, then decay: by epoch for "step", by step for "cosine"."""
    warmup, decay = schedule["warmup"], schedule["decay"]
    total = schedule["epochs"] * steps_per_epoch
    warm_steps = min(warmup["iterations"], total // 2)
    result = []
    if warm_steps:
        result.append(
            {"type": "LinearLR", "start_factor": warmup["start"], "by_epoch": False, "begin": 0, "end": warm_steps}
        )
    if decay["type"] == "step":
        result.append(
            {"type": "MultiStepLR", "by_epoch": True, "milestones": list(decay["epochs"]), "gamma": decay["gamma"]}
        )
    elif decay["type"] == "cosine":
        span = {"begin": warm_steps, "end": total, "T_max": max(total - warm_steps, 1)}
        result.append({"type": "CosineAnnealingLR", "by_epoch": False, "eta_min_ratio": decay["end"], **span})
    else:
        raise ValueError(f"schedule.decay.type: expected step or cosine, got {decay['type']!r}")
    return result


def _prepare_folder(config: Mapping[str, Any], work_dir: Path, resume: bool) -> None:
    """Create the run's folder, or recognise it; nothing of another run is ever touched."""
    work_dir.mkdir(parents=True, exist_ok=True)
    if (work_dir / CONFIG).is_file():
        if not resume:
            raise ValueError(f"work dir {work_dir} holds a run already; give another, or --resume to go on with it")
        different = sorted(key for key, value in read(work_dir / CONFIG).items() if config.get(key) != value)
        if different:
            raise ValueError(f"work dir {work_dir} holds a run of another config ({', '.join(different)} differ)")
        return
    if any(work_dir.iterdir()):
        raise ValueError(f"work dir {work_dir} holds other files; give a new or empty folder")
    imports.save(config, work_dir)
    write_json(config, work_dir / CONFIG)


def _summary(
    config: Mapping[str, Any], work_dir: Path, watched: Mapping[str, float], model: nn.Module
) -> dict[str, Any]:
    """What a run came to, written to SUMMARY; time and memory are the first process's."""
    lines = read_metrics(work_dir / METRICS)
    steps = [line["seconds"] for line in lines if "seconds" in line]
    curve = [{key: value for key, value in line.items() if key != "lr"} for line in lines if "AP" in line]
    seconds = statistics.median(steps) if steps else 0.0
    summary = {
        "name": config["name"],
        "seed": config["seed"],
        "steps": len(steps),
        "seconds_per_step": seconds,
        "assignment_share": watched["assignment_seconds_per_step"] / seconds if seconds else 0.0,
        **watched,
        "peak_memory_bytes": peak_memory_bytes(),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "max_detections": config["evaluation"]["max_detections"],
        "metrics": {key: value for key, value in (curve[-1] if curve else {}).items() if key.startswith("AP")},
        "curve": curve,
    }
    write_json(summary, work_dir / SUMMARY)
    return summary


def _remove_if_empty(folder: Path) -> None:
    """mmengine makes a folder per start for logs that are elsewhere."""
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


class calm(warnings.catch_warnings):
    """Keeps third parties' warnings and start-up talk off the terminal, and lets what an assignment warns of through."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.simplefilter("ignore")
        warnings.filterwarnings("default", category=AssignmentWarning)
        MMLogger.get_current_instance()  # the logger of last resort, which talks to the terminal
        for logger in MMLogger._instance_dict.values():
            _silence(logger)


def _silence(logger: MMLogger) -> None:
    for handler in logger.handlers:
        if type(handler) is logging.StreamHandler:
            handler.setLevel(logging.CRITICAL)

"""Training and testing a resolved config on mmengine's loop."""

from __future__ import annotations

import io
import logging
import statistics
import time
import warnings
from collections.abc import Container, Mapping, Sequence
from contextlib import redirect_stdout
from functools import partial
from inspect import Parameter, signature
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import DistSamplerSeedHook, IterTimerHook, ParamSchedulerHook, SyncBuffersHook
from mmengine.logging import MMLogger
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import OPTIMIZERS, OptimWrapper
from mmengine.runner import Runner
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..assigners import AssignmentWarning
from ..data.files import new_folder
from ..ops import MissingKernelWarning
from . import imports, processes
from .build import Detector, build_model, load_checkpoint, warn_of_cold_start
from .checkpoints import CheckpointKeeper, any_checkpoint, choose
from .config import CONFIG, find_source, read, source_of, validate
from .datasets import eval_loader, steps_in_all, train_loader
from .device import device_of
from .evaluation import CLASSES, AveragePrecision
from .files import naming, write_json
from .hooks import (
    AssignmentStatistics,
    EpochSeed,
    MetricsFile,
    ProgressBar,
    RunInfo,
    TrainingProgress,
    peak_memory_bytes,
    read_metrics,
)
from .notes import Note
from .precision import optim_wrapper, precision_of
from .progress import progress_bar
from .provenance import provenance
from .reasons import reason
from .resuming import Start, catch_up, check_changes, differences, find_start, fingerprint
from .telemetry import Telemetry, look_of
from .telling import Announcement, EpochLog, resolved_assigners

METRICS, SUMMARY, LOG, ASSIGNER = "metrics.jsonl", "summary.json", "train.log", "assigner.txt"


class QuietRunner(Runner):
    """mmengine's runner whose log goes to LOG in the run's folder and not to the terminal.

    `pace` are the configs of schedulers that a resumed run follows in place of those in its checkpoint.
    """

    pace: Sequence[Mapping[str, Any]] | None = None

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
    goes_on = processes.once(partial(_goes_on, work_dir, resume))
    model, settings = _seeded_model(config, initialise=not goes_on), config["telemetry"]
    observed = AssignmentStatistics(settings["every"], look_of(model) if settings["on"] else None)
    if processes.is_first() and not goes_on:
        warn_of_cold_start(config, model)
    metrics = MetricsFile(work_dir / METRICS)
    bar = ProgressBar(config["name"], metrics, quiet or not processes.is_first())
    loop = _loop(config, model)
    watching = [Telemetry(config, model, observed, metrics, work_dir, bar.say)] if settings["on"] else []
    prepare = partial(_find_start, config, work_dir, model) if goes_on else partial(_prepare, config, work_dir, resume)
    start = processes.once(prepare)  # what is refused by now leaves no folder
    keeper = _keeper(config, work_dir, start)
    assigners = resolved_assigners(model)
    if processes.is_first():
        (work_dir / ASSIGNER).write_text(assigners + "\n", encoding="utf-8")
    told = [EpochLog(metrics.means), Announcement(config, bar.say, "" if quiet else assigners)]
    seeds = [EpochSeed(config["seed"]), TrainingProgress()]
    hooks = [metrics, observed, *watching, *seeds, SyncBuffersHook(), bar, keeper, *told]
    model.observer = observed
    with calm(), naming(work_dir):
        basics = _runner_basics(config, work_dir)
        runner = QuietRunner(model, str(work_dir), **loop, custom_hooks=hooks, **_from(start), **basics)
        if processes.is_first() and runner.max_epochs > (start.epoch if start else 0):
            (work_dir / SUMMARY).unlink(missing_ok=True)  # of a run that is not over any more
        for sentence in start.notes if start else ():
            runner.logger.info(sentence)
        runner.pace = loop["param_scheduler"] if start and start.pace_changed else None
        try:
            runner.train()
        finally:
            bar.stop()
            model.observer = None
            if processes.is_first():
                _remove_if_empty(Path(runner.log_dir))
    watched = observed.summary()
    return processes.once(partial(_summary, config, work_dir, watched, model, keeper.best))


def evaluate(
    config: Mapping[str, Any], checkpoint: Path, split: str = "val", classes: Sequence[str] | None = None
) -> dict[str, Any]:
    """AP of a checkpoint on a split of the config's data; writes nothing.

    Args:
        config: resolved.
        checkpoint: of its model. Its classes may be in another order than the data's.
        split: "val", "train" or "test".
        classes: of the checkpoint where it states none itself; the data's if left out.

    Raises:
        ValueError, OSError: for a checkpoint of another model or of other classes, and for data that is not there.
    """
    with calm():
        source, model = find_source(config, [split]), build_model(config, initialise=False)
        load_checkpoint(model, checkpoint, source.classes, classes)
        loader = eval_loader(source, config["input"], _eval_batch_size(config), split)
        metric = AveragePrecision(source, split, config["evaluation"]["max_detections"])
        model.to(device_of(config)).eval()
        with progress_bar(config["name"], len(loader), quiet=not processes.is_first()) as advance, torch.no_grad():
            for batch in loader:
                metric.process(batch, [sample.to_dict() for sample in model.test_step(batch)])
                advance()
        return metric.evaluate(len(loader.dataset))


def rehearse(config: Mapping[str, Any]) -> None:
    """A step of training and a batch of evaluation, of which nothing stays: what cannot work shows before it takes hours.

    Raises:
        Exception: whatever data, model, assigner or optimizer raise; a ValueError for a loss that is not finite.
    """
    with calm():
        alone = {**config, "input": {**config["input"], "workers": 0}}
        model = _seeded_model(alone, initialise=True)
        loop = _loop(alone, model)
        losses = model.train().train_step(next(iter(loop["train_dataloader"])), loop["optim_wrapper"])
        broken = [name for name in losses if name.startswith("loss") and not torch.isfinite(losses[name]).all()]
        if broken:
            raise ValueError(f"{broken[0]} is {float(losses[broken[0]])} at the first step")
        with torch.no_grad():
            model.eval().test_step(next(iter(loop["val_dataloader"])))
    warn_of_cold_start(config, model)


def step_seconds(config: Mapping[str, Any], steps: int = 8, enough: float = 10.0) -> float:
    """How long a step of training takes here, its images included: the mean of `steps` after the first, or of as many as there
    are in `enough` seconds. Nothing stays of them.
    """
    with calm():
        model = _seeded_model(config, initialise=True)
        loop, device = _loop(config, model), device_of(config)
        model.train()
        batches, begun, done = chain.from_iterable(repeat(loop["train_dataloader"])), 0.0, 0
        for number, batch in enumerate(batches):
            model.train_step(batch, loop["optim_wrapper"])
            if number == 0:
                _wait_for(device)
                begun = time.perf_counter()
            done = number
            if number == steps or (number and time.perf_counter() - begun > enough):
                break
        _wait_for(device)
        return (time.perf_counter() - begun) / done


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


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
    """The config and the best checkpoint of a run's folder, the last where there is no best; arguments as of `find_config`.

    Raises:
        FileNotFoundError: when the folder, its config or a checkpoint is missing.
        ValueError: when no checkpoint can be read, and as `find_config` does.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"run folder {folder} does not exist")
    return find_config(folder, trust, given), choose(folder).path


def _seeded_model(config: Mapping[str, Any], initialise: bool) -> Detector:
    torch.manual_seed(config["seed"])
    with calm():
        model = build_model(config, initialise)
    return model.to(device_of(config), memory_format=torch.channels_last)  # a tenth faster on CPUs, more on GPUs


def _loop(config: Mapping[str, Any], model: nn.Module) -> dict[str, Any]:
    """What the runner's loop is made of: data, optimizer, schedule, evaluation."""
    schedule, evaluation, source = config["schedule"], config["evaluation"], source_of(config)
    share, most = processes.share(schedule["batch_size"]), schedule.get("steps")
    loader = train_loader(source, config["input"], share, config["seed"], most)
    steps = steps_in_all(loader, schedule["epochs"])
    epochs = -(-steps // len(loader))
    return {
        "train_dataloader": loader,
        "val_dataloader": eval_loader(source, config["input"], _eval_batch_size(config)),
        "train_cfg": {"by_epoch": True, "max_epochs": epochs, "val_interval": evaluation["every"]},
        "val_cfg": {},
        "val_evaluator": [AveragePrecision(source, "val", evaluation["max_detections"])],
        "optim_wrapper": _optimizer(model, config),
        "param_scheduler": _schedulers(schedule, len(loader), steps),
    }


def _eval_batch_size(config: Mapping[str, Any]) -> int:
    """Images that each process evaluates together."""
    return config["evaluation"].get("batch_size") or max(1, config["schedule"]["batch_size"] // processes.count())


def _goes_on(work_dir: Path, resume: bool) -> bool:
    """Whether there is a checkpoint to go on from.

    Raises:
        ValueError: when there should be one: the run has finished an epoch.
    """
    if not resume or any_checkpoint(work_dir):
        return resume
    done = max((line["epoch"] for line in _lines(work_dir) if "AP" in line), default=0)
    if done:
        raise ValueError(
            f"--resume: the run in {work_dir} has {done} epochs behind it and no checkpoint (epoch_N.pth) to go on from; a new "
            "one needs another folder"
        )
    return False


def _find_start(config: Mapping[str, Any], work_dir: Path, model: nn.Module) -> Start:
    """Where the run of this folder goes on."""
    if not (work_dir / CONFIG).is_file():
        raise ValueError(f"work dir {work_dir} holds checkpoints and no {CONFIG}; give a new or empty folder")
    return find_start(config, work_dir, model)


def _from(start: Start | None) -> dict[str, Any]:
    """The runner's arguments that say where to begin; all processes must see the checkpoint.

    Raises:
        ValueError: when this process does not.
    """
    if start is None:
        return {"resume": False}
    if not start.path.is_file():
        raise ValueError(f"--resume: not all processes see the checkpoints in {start.path.parent}; share that folder")
    return {"resume": True, "load_from": str(start.path)}


def _keeper(config: Mapping[str, Any], work_dir: Path, start: Start | None) -> CheckpointKeeper:
    """What writes checkpoints, and knows which AP has been measured."""

    def recorded(epoch: int) -> tuple[bool, float | None]:
        scores = [line["AP"] for line in _lines(work_dir) if "AP" in line and line["epoch"] == epoch]
        return bool(scores), scores[-1] if scores else None

    record = {"config": dict(config), "data": processes.once(lambda: fingerprint(source_of(config)))}
    return CheckpointKeeper(work_dir, recorded, record, start and start.best)


def _lines(work_dir: Path) -> list[dict[str, Any]]:
    """What the metrics file says, if there is one."""
    return read_metrics(work_dir / METRICS) if (work_dir / METRICS).is_file() else []


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
            "checkpoint": None,
            "logger": None,
        },
    }


def _optimizer(model: nn.Module, config: Mapping[str, Any]) -> OptimWrapper:
    precision = precision_of(config)
    schedule = config["schedule"]
    settings = {key: value for key, value in schedule["optimizer"].items() if key != "type"}
    settings["lr"] *= schedule["batch_size"] / schedule["base_batch_size"]
    optimizer = OPTIMIZERS.get(schedule["optimizer"]["type"])
    if optimizer is None:
        raise ValueError(f"schedule.optimizer.type: torch has no optimizer {schedule['optimizer']['type']!r}")
    closure = signature(optimizer.step).parameters.get("closure")
    if closure and closure.default is Parameter.empty:
        raise ValueError(
            f"schedule.optimizer.type: {schedule['optimizer']['type']} computes the loss itself, training does not"
        )
    if "fused" in signature(optimizer).parameters:
        settings.setdefault("fused", True)  # one kernel per group; a third of the time on small models
    clip = {"max_norm": schedule["clip"]} if schedule["clip"] else None
    groups = parameter_groups(model, schedule, settings["lr"], settings.get("weight_decay", 0.0))
    try:
        return optim_wrapper(
            precision.dtype, device_of(config), optimizer=optimizer(groups, **settings), clip_grad=clip
        )
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


def _schedulers(schedule: Mapping[str, Any], steps_per_epoch: int, total: int) -> list[dict[str, Any]]:
    """Warm-up by step, then decay: by epoch for "step", unless it is within one, by step for "cosine"."""
    warmup, decay = schedule["warmup"], schedule["decay"]
    warm_steps = min(warmup["iterations"], total // 2)
    result = []
    if warm_steps:
        result.append(
            {"type": "LinearLR", "start_factor": warmup["start"], "by_epoch": False, "begin": 0, "end": warm_steps}
        )
    if decay["type"] == "step":
        whole = all(float(epoch).is_integer() for epoch in decay["epochs"])
        milestones = [int(epoch) if whole else round(epoch * steps_per_epoch) for epoch in decay["epochs"]]
        result.append({"type": "MultiStepLR", "by_epoch": whole, "milestones": milestones, "gamma": decay["gamma"]})
    elif decay["type"] == "cosine":
        span = {"begin": warm_steps, "end": total, "T_max": max(total - warm_steps, 1)}
        result.append({"type": "CosineAnnealingLR", "by_epoch": False, "eta_min_ratio": decay["end"], **span})
    else:
        raise ValueError(f"schedule.decay.type: expected step or cosine, got {decay['type']!r}")
    return result


def _prepare(config: Mapping[str, Any], work_dir: Path, resume: bool) -> None:
    """Create the run's folder, or recognise one that holds nothing but its config; nothing of another run is ever touched."""
    if (work_dir / CONFIG).is_file():
        if not resume:
            raise ValueError(f"work dir {work_dir} holds a run already; give another, or --resume to go on with it")
        check_changes(differences(read(work_dir / CONFIG), config), work_dir)
    else:
        new_folder(work_dir).mkdir(parents=True, exist_ok=True)
    imports.save(config, work_dir)
    write_json(config, work_dir / CONFIG)


def _summary(
    config: Mapping[str, Any],
    work_dir: Path,
    watched: Mapping[str, float],
    model: nn.Module,
    best: Mapping[str, Any] | None,
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
        "assignment_share": watched["assignment_seconds_per_step"] / seconds if seconds else 0.0,
        **watched,
        "peak_memory_bytes": peak_memory_bytes(),
        "precision": precision_of(config).name,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "max_detections": config["evaluation"]["max_detections"],
        "metrics": {key: value for key, value in last.items() if key.startswith("AP") or key == CLASSES},
        "best": best,
        **provenance(device_of(config)),
        "processes": processes.count(),
        "init": config.get("init"),
        "curve": [{key: line[key] for key in line if key not in ("lr", CLASSES)} for line in evaluations],
    }
    write_json(summary, work_dir / SUMMARY)
    return summary


def _remove_if_empty(folder: Path) -> None:
    """mmengine makes a folder per start for logs that are elsewhere."""
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


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

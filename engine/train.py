"""Training and testing a resolved config on mmengine's loop."""

from __future__ import annotations

import time
from collections.abc import Container, Mapping, Sequence
from functools import partial
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from torch import nn

from ..data.files import new_folder
from . import imports, processes
from .averaging import WeightAverage
from .build import Detector, build_model, load_checkpoint, warn_of_cold_start
from .checkpoints import any_checkpoint, choose
from .config import CONFIG, find_source, read, source_of, validate
from .datasets import eval_loader, train_loader
from .device import device_of
from .evaluation import AveragePrecision
from .files import naming, write_json
from .hooks import read_metrics
from .keeping import CheckpointKeeper
from .loops import check_parts, learn_from
from .optimization import build_optimizer, parts_of, schedulers
from .precision import Precision, kept, precision_of
from .progress import progress_bar
from .resuming import Start, check_changes, differences, find_start, fingerprint
from .runner import QuietRunner, calm, runner_basics
from .sampling import steps_in_all
from .summary import METRICS, SUMMARY, summarise
from .telling import resolved_assigners
from .trackers import check_trackers
from .watching import watch

ASSIGNER = "assigner.txt"


def train(
    config: Mapping[str, Any], work_dir: Path, resume: bool = False, quiet: bool = False, watching: Sequence[Hook] = ()
) -> dict[str, Any]:
    """Train, evaluating on the way; leaves config, checkpoints, metrics, log and summary in `work_dir`.

    In a job of several processes (`processes.joined`) each trains on its share of every batch, and the first one writes. A
    precision that is left to the machine is decided once: the folder's config has its name.

    Args:
        config: resolved.
        work_dir: a new or empty folder, or with `resume` one that an interrupted run of the same config left.
        resume: go on from the last checkpoint, if there is one.
        quiet: no progress bar.
        watching: mmengine's hooks, beside the run's own.

    Returns:
        The summary: last metrics, seconds per step, assignment statistics, peak memory.

    Raises:
        ValueError, OSError: for a folder in use, a config of another run, and whatever data or model refuse.
    """
    processes.once(partial(check_trackers, config.get("log") or ()))
    goes_on = processes.once(partial(_goes_on, work_dir, resume))
    precision = _precision(config, work_dir, resume)
    config = {**config, "precision": precision.name}
    model = _seeded_model(config, initialise=not goes_on)
    if processes.is_first() and not goes_on:
        warn_of_cold_start(config, model)
    loop, watched = _loop(config, model), watch(config, precision, model, work_dir, quiet)
    prepare = partial(_find_start, config, work_dir, model) if goes_on else partial(_prepare, config, work_dir, resume)
    start = processes.once(prepare)  # what is refused by now leaves no folder
    if processes.is_first():
        (work_dir / ASSIGNER).write_text(resolved_assigners(model) + "\n", encoding="utf-8")
    keeper, decay = _keeper(config, work_dir, start), config["schedule"].get("ema")
    average = WeightAverage(model, decay) if decay else None
    hooks = watched.hooks(config, model, work_dir, keeper, average, watching)
    model.observer = watched.observed
    with calm(), naming(work_dir):
        named = {**runner_basics(config, work_dir), **_from(start), "average": average, "parts": parts_of(config)}
        pace = loop["param_scheduler"] if start and start.pace_changed else None
        runner = QuietRunner(model, str(work_dir), **loop, custom_hooks=hooks, **named, pace=pace)
        _begin(runner, start, work_dir)
        try:
            runner.train()
        finally:
            model.observer = None
            watched.stop()
            if processes.is_first():
                _remove_if_empty(Path(runner.log_dir))
    ended = {"by": "patience" if runner.train_loop.stop_training else "schedule", "epoch": runner.epoch}
    counted = {**watched.observed.summary(), **keeper.best, "ended": ended}
    return processes.once(partial(summarise, config, work_dir, counted, model))


def _begin(runner: QuietRunner, start: Start | None, work_dir: Path) -> None:
    """What a run says and takes back before its first step, when it goes on."""
    if processes.is_first() and runner.max_epochs > (start.epoch if start else 0):
        (work_dir / SUMMARY).unlink(missing_ok=True)  # of a run that is not over any more
    for sentence in start.notes if start else ():
        runner.logger.info(sentence)


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
    return measured(config, checkpoint, split, classes)[0]


def measured(
    config: Mapping[str, Any],
    checkpoint: Path,
    split: str = "val",
    classes: Sequence[str] | None = None,
    thorough: bool = False,
) -> tuple[dict[str, Any], AveragePrecision]:
    """The same, and what was detected: of all processes' images in the first process; `thorough` as of `AveragePrecision`."""
    with calm():
        source, model = find_source(config, [split]), build_model(config, initialise=False)
        load_checkpoint(model, checkpoint, source.classes, classes)
        loader = eval_loader(source, config["input"], _eval_batch_size(config), split)
        metric = AveragePrecision(source, split, config["evaluation"]["max_detections"], thorough)
        model.to(device_of(config)).eval()
        with progress_bar(config["name"], len(loader), quiet=not processes.is_first()) as advance, torch.no_grad():
            for batch in loader:
                metric.process(batch, [sample.to_dict() for sample in model.test_step(batch)])
                advance()
        return metric.evaluate(len(loader.dataset)), metric


def rehearse(config: Mapping[str, Any]) -> None:
    """A step of training and a batch of evaluation, of which nothing stays: what cannot work shows before it takes hours.

    Raises:
        Exception: whatever data, model, assigner or optimizer raise; a ValueError for a loss that is not finite.
    """
    with calm():
        alone = {**config, "input": {**config["input"], "workers": 0}}
        model = _seeded_model(alone, initialise=True)
        loop = _loop(alone, model)
        batch = next(iter(loop["train_dataloader"]))
        losses = learn_from(model.train(), batch, loop["optim_wrapper"], parts_of(config))
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
            learn_from(model, batch, loop["optim_wrapper"], parts_of(config))
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
    check_parts(min(share, len(loader.sampler)), parts_of(config))  # the only batch may have fewer images
    steps = steps_in_all(loader, schedule["epochs"])
    epochs = -(-steps // len(loader))
    return {
        "train_dataloader": loader,
        "val_dataloader": eval_loader(source, config["input"], _eval_batch_size(config)),
        "train_cfg": {"by_epoch": True, "max_epochs": epochs, "val_interval": evaluation["every"]},
        "val_cfg": {},
        "val_evaluator": [AveragePrecision(source, "val", evaluation["max_detections"])],
        "optim_wrapper": build_optimizer(model, config),
        "param_scheduler": schedulers(schedule, len(loader), steps),
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


def _precision(config: Mapping[str, Any], work_dir: Path, resume: bool) -> Precision:
    """What the run is trained in, which is what its folder was begun in where the config leaves that to the machine."""
    path = work_dir / CONFIG
    begun = processes.once(lambda: read(path).get("precision") if resume and path.is_file() else None)
    return kept(config.get("precision", "float32"), begun) or precision_of(config)


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

    def recorded(epoch: int) -> dict[str, Any] | None:
        lines = [line for line in _lines(work_dir) if "AP" in line and line["epoch"] == epoch]
        return lines[-1] if lines else None

    record = {"config": dict(config), "data": processes.once(lambda: fingerprint(source_of(config)))}
    kept = (start.best, start.best_ema) if start else (None, None)
    return CheckpointKeeper(work_dir, recorded, record, kept)


def _lines(work_dir: Path) -> list[dict[str, Any]]:
    """What the metrics file says, if there is one."""
    return read_metrics(work_dir / METRICS) if (work_dir / METRICS).is_file() else []


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


def _remove_if_empty(folder: Path) -> None:
    """mmengine makes a folder per start for logs that are elsewhere."""
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()

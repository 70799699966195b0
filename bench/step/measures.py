"""What is measured of contenders: their times in turns, our supervision, waits for a GPU, memory."""

from __future__ import annotations

import multiprocessing
import statistics
import time
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from copy import deepcopy
from dataclasses import replace
from functools import singledispatch
from typing import Any

import torch
from torch import Tensor, nn

from ...assigners import Predictions
from ...detectors import DenseDetector, QueryDetector
from ...detectors.targets import targets_of
from ...engine.hooks import peak_memory_bytes
from ...engine.runner import calm
from ...heads.query import QueryOutputs
from ..memory import start_over
from ..stand_in import put_on, stand_in
from .conditions import CLASSES, Conditions, make_batch
from .contender import Contender, wait

WARM_UP = 2  # steps that are not counted
SMALL = (224, 224)  # pixels, that a side is made ready on; smaller images lack the proposals that DINO chooses


def take_turns(runs: Mapping[str, Callable[[], Any]], steps: int) -> dict[str, tuple[float, float]]:
    """Median seconds of each run, by the clock and of the CPU, measured in turn; the first turns warm up."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for _ in range(WARM_UP + steps):
        for name, run in runs.items():
            times[name].append(_seconds(run))
    counted = {name: zip(*taken[WARM_UP:], strict=True) for name, taken in times.items()}
    return {name: tuple(map(statistics.median, clocks)) for name, clocks in counted.items()}


@singledispatch
def supervision(model: nn.Module, batch: Mapping[str, Any]) -> dict[str, Callable[[], None]]:
    """What of a step is targets: calls that match and work out all losses and their gradients down to the predictions."""
    raise TypeError(f"supervision of {type(model).__name__} is not known")


@supervision.register
def _of_queries(model: QueryDetector, batch: Mapping[str, Any]) -> dict[str, Callable[[], None]]:
    data = model.data_preprocessor(dict(batch), True)
    targets = targets_of(data["data_samples"]).to(data["inputs"].device)
    with torch.no_grad():
        outputs = model._outputs(data["inputs"], data["data_samples"], targets.sizes, targets)

    def losses() -> None:
        sum(model.bbox_head.loss(_as_leaves(outputs), targets).values()).backward()

    def denoising() -> None:
        if model.denoising is not None:
            model.denoising.denoise(targets, CLASSES)

    return {"losses": losses, "denoising": denoising}


@supervision.register
def _of_points(model: DenseDetector, batch: Mapping[str, Any]) -> dict[str, Callable[[], None]]:
    data = model.data_preprocessor(dict(batch), True)
    targets = targets_of(data["data_samples"]).to(data["inputs"].device)
    with torch.no_grad():
        predictions = model.predictions(data["inputs"])

    def losses() -> None:
        _, found = model.bbox_head.assign_and_loss(_as_leaves(predictions), targets)
        sum(found.values()).backward()

    return {"losses": losses}


def supervision_seconds(model: nn.Module, batch: Mapping[str, Any], repeats: int) -> float:
    """Median seconds that matching, all losses and their gradients down to logits and boxes, and denoising take."""
    device = next(model.parameters()).device

    def finished(run: Callable[[], None]) -> Callable[[], None]:
        return lambda: (run(), wait(device))

    runs = {name: finished(run) for name, run in supervision(model, batch).items()}
    return sum(wall for wall, _ in take_turns(runs, repeats).values())


@singledispatch
def _as_leaves(outputs: Any) -> Any:
    """Predictions as if nothing came before them."""
    raise TypeError(f"{type(outputs).__name__} is no predictions")


@_as_leaves.register
def _(outputs: QueryOutputs) -> QueryOutputs:
    leaves = _leaves(outputs, ("logits", "boxes", "objectness"))
    return replace(outputs, **leaves, encoder=outputs.encoder and _as_leaves(outputs.encoder))


@_as_leaves.register
def _(outputs: Predictions) -> Predictions:
    leaves = _leaves(outputs, ("logits", "boxes", "objectness", "distribution"))
    return replace(outputs, **leaves, auxiliary=outputs.auxiliary and _as_leaves(outputs.auxiliary))


def _leaves(outputs: Any, names: tuple[str, ...]) -> dict[str, Tensor]:
    tensors = {name: getattr(outputs, name) for name in names}
    return {name: t.detach().requires_grad_() for name, t in tensors.items() if t is not None}


def waits_of(contender: Contender, batch: Mapping[str, Any], conditions: Conditions) -> int | None:
    """How often a step waits for the GPU; on a CPU, for a stand-in, where the contender stays.

    None where a step has an operator that the stand-in does not know.
    """
    if torch.device(conditions.device).type == "cuda":
        return waits_on_gpu(contender, batch)
    try:
        return waits_on_stand_in(contender, batch)
    except NotImplementedError:
        return None


def waits_on_gpu(contender: Contender, batch: Mapping[str, Any]) -> int:
    """How often a step waits for the GPU."""
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            contender.start(batch)
    finally:
        torch.cuda.set_sync_debug_mode(before)
    return sum("synchroniz" in str(warning.message) for warning in caught)


def waits_on_stand_in(contender: Contender, batch: Mapping[str, Any]) -> int:
    """How often a step would wait for a GPU; moves the contender to the stand-in, where it stays."""
    put_on(contender.model)
    with calm(), stand_in() as record:
        contender.start(deepcopy(batch))  # makes what is made once
        record.clear()
        contender.start(deepcopy(batch))
    return sum(record.waits.values())


def peak_growth(make: Callable[[Conditions], Contender], conditions: Conditions) -> int:
    """Bytes that a fresh process grows by, at most, from before the model is built until it has trained two steps.

    What a side imports and registers is none of it: the process has trained the side on small images before.

    Args:
        make: a module's function or a partial of one, since it goes to that process.
        conditions: of the measurement.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_growth, make, conditions, torch.get_num_threads()).result()


def _growth(make: Callable[[Conditions], Contender], conditions: Conditions, threads: int) -> int:
    torch.set_num_threads(threads)
    with calm():
        _train(make, replace(conditions, size=SMALL))
        before = _held(torch.device(conditions.device))
        _train(make, conditions)
    return _peak(torch.device(conditions.device)) - before


def _train(make: Callable[[Conditions], Contender], conditions: Conditions) -> None:
    """Two steps of a side that is gone afterwards."""
    contender, batch = make(conditions), make_batch(conditions)
    for _ in range(2):
        contender.step(batch)


def _held(device: torch.device) -> int:
    """Bytes that this process holds now on the device, from which its peak counts anew."""
    before = start_over()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    return before


def _peak(device: torch.device) -> int:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak_memory_bytes()


def _seconds(run: Callable[[], Any]) -> tuple[float, float]:
    started, cpu_started = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - started, time.process_time() - cpu_started

"""The processes of one training job, as torchrun starts them: one per GPU, each with its share of every batch.

In a process that is alone, nothing here changes anything.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
from mmengine.model import MMDistributedDataParallel
from torch import Tensor, distributed, nn

Value = TypeVar("Value")
TORCHRUN = frozenset({"RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"})


@contextmanager
def joined() -> Iterator[None]:
    """Meet the other processes that torchrun has started, if it has, and part from them at the end."""
    if not os.environ.keys() >= TORCHRUN or os.environ["WORLD_SIZE"] == "1" or count() > 1:
        yield
        return
    gpus = torch.cuda.device_count()
    if gpus:
        torch.cuda.set_device(local_rank() % gpus)
    distributed.init_process_group("cpu:gloo,cuda:nccl" if gpus else "gloo")
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, distributed.DistError) and "gloo" not in str(error):
            raise
        raise ConnectionError("another process of the job has ended; what it said is the reason") from error
    finally:
        gc.collect()  # what still holds the group, a model in a cycle of references, goes first
        distributed.destroy_process_group()


def count() -> int:
    """How many processes share the job."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def is_first() -> bool:
    """Whether this is the process that writes files and talks."""
    return count() == 1 or distributed.get_rank() == 0


def local_rank() -> int:
    """The number of this process among those of this machine."""
    return int(os.environ.get("LOCAL_RANK", 0))


def once(make: Callable[[], Value]) -> Value:
    """Do something in the first process alone; all of them get what it made.

    When it fails there, the first process says why, and the others end.
    """
    if count() == 1:
        return make()
    told: list[tuple[bool, Value | None]] = [(False, None)]
    try:
        if is_first():
            told = [(True, make())]
    finally:
        distributed.broadcast_object_list(told)
    done, value = told[0]
    if not done:
        sys.exit(1)
    return value


def share(batch_size: int) -> int:
    """How many images of a batch are this process's.

    Raises:
        ValueError: when they cannot be shared out evenly.
    """
    if batch_size % count():
        raise ValueError(f"batch size {batch_size} cannot be shared out among {count()} processes; take a multiple")
    return batch_size // count()


def mean(values: Tensor) -> Tensor:
    """The mean over the processes of values on any device."""
    if count() == 1:
        return values
    values = values.clone()
    distributed.all_reduce(values)
    return values / count()


def total(values: Sequence[float]) -> list[float]:
    """The sum over the processes of each of some numbers."""
    return (mean(torch.tensor(values, dtype=torch.float64)) * count()).tolist()


def gathered(value: Value) -> list[Value]:
    """What each of the processes has, in their order, in all of them."""
    if count() == 1:
        return [value]
    found: list[Value] = [value] * count()
    distributed.all_gather_object(found, value)
    return found


def rank() -> int:
    """The number of this process among all of the job."""
    return 0 if count() == 1 else distributed.get_rank()


def parallel(model: nn.Module) -> nn.Module:
    """The model, with gradients averaged over the processes; it stays on its device."""
    if count() == 1:
        return model
    device = next(model.parameters()).device
    devices = [device] if device.type == "cuda" else None
    return MMDistributedDataParallel(module=model, device_ids=devices, broadcast_buffers=False)

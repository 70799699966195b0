"""One side of a measurement: a detector in training, and how ours becomes one."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from mmengine.optim import OptimWrapper
from torch import nn

from ...configs.schedules import coco_1x, detr_50e
from ...engine.build import build_model
from ...engine.config import plain
from ...engine.optimization import parameter_groups
from ...engine.precision import optim_wrapper
from .conditions import CLASSES, Conditions

ADAMW = {"schedule": {**detr_50e.schedule, "backbone_lr_mult": 0.1}, "lr": 1e-4, "weight_decay": 1e-4, "clip": 0.1}
SGD = {"schedule": coco_1x.schedule, "lr": 0.01, "weight_decay": 1e-4, "momentum": 0.9, "clip": None}


class Surroundings(Protocol):
    """What is in place while a contender steps."""

    def __call__(self) -> AbstractContextManager[Any]: ...


class Contender:
    """A detector in training.

    Args:
        model: with mmengine's `train_step`.
        optimizer: of its parameters.
        surroundings: what is in place while it steps.
    """

    def __init__(self, model: nn.Module, optimizer: OptimWrapper, surroundings: Surroundings = nullcontext) -> None:
        self.model, self.optimizer, self.surroundings = model.train(), optimizer, surroundings

    def step(self, batch: Mapping[str, Any]) -> None:
        """One training step, finished when this returns."""
        self.start(batch)
        wait(next(self.model.parameters()).device)

    def start(self, batch: Mapping[str, Any]) -> None:
        """One training step, of which a GPU may still be working when this returns."""
        with self.surroundings():
            self.model.train_step(dict(batch), self.optimizer)


def ours(model: Mapping[str, Any], conditions: Conditions, training: Mapping[str, Any] = ADAMW) -> Contender:
    """Our detector with the optimizer that our training builds.

    Args:
        model: described as a fragment does.
        conditions: of the measurement.
        training: ADAMW or SGD.
    """
    description = plain(dict(model))
    description["head"]["num_classes"] = CLASSES
    built = build_model({"model": description}).to(conditions.device, memory_format=torch.channels_last)
    groups = parameter_groups(built, training["schedule"], training["lr"], training["weight_decay"])
    common = {"lr": training["lr"], "weight_decay": training["weight_decay"], "fused": True}
    if "momentum" in training:
        optimizer = torch.optim.SGD(groups, momentum=training["momentum"], **common)
    else:
        optimizer = torch.optim.AdamW(groups, **common)
    return Contender(built, wrapped(optimizer, conditions, training["clip"]))


def wrapped(optimizer: torch.optim.Optimizer, conditions: Conditions, clip: float | None) -> OptimWrapper:
    """An optimizer that clips gradients to this norm, under the conditions' autocast."""
    clipping = {"max_norm": clip} if clip else None
    device = torch.device(conditions.device)
    return optim_wrapper(conditions.dtype, device, optimizer=optimizer, clip_grad=clipping)


def wait(device: torch.device) -> None:
    """Until a GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)

"""The optimizer of a run and its learning rate: parameters in groups, warm-up and decay."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import Parameter, signature
from typing import Any

from mmengine.optim import OPTIMIZERS, OptimWrapper
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from . import processes
from .device import device_of
from .precision import optim_wrapper, precision_of
from .reasons import reason

__all__ = ["build_optimizer", "parameter_groups", "parts_of", "schedulers"]


def build_optimizer(model: nn.Module, config: Mapping[str, Any]) -> OptimWrapper:
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
        built = optimizer(groups, **settings)
    except Exception as error:  # each optimizer complains in its way
        raise ValueError(
            f"schedule.optimizer: {schedule['optimizer']['type']} refuses its arguments ({reason(error)})"
        ) from error
    parts, device = parts_of(config), device_of(config)
    return optim_wrapper(precision.dtype, device, optimizer=built, clip_grad=clip, accumulative_counts=parts)


def parts_of(config: Mapping[str, Any]) -> int:
    """In how many parts a config's batch goes through the model, whose gradients are added up.

    Raises:
        ValueError: when the images of a process cannot be shared out evenly among them.
    """
    parts, images = config["schedule"].get("accumulate") or 1, processes.share(config["schedule"]["batch_size"])
    if images % parts:
        raise ValueError(f"schedule.accumulate: {images} images of a process do not make {parts} equal parts")
    return parts


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


def schedulers(schedule: Mapping[str, Any], steps_per_epoch: int, total: int) -> list[dict[str, Any]]:
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

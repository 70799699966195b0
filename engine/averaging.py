"""An exponential moving average of the weights in training, beside the weights themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.hooks import Hook
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.optim.swa_utils import get_ema_multi_avg_fn

from . import processes
from .notes import note

__all__ = ["AVERAGED", "WeightAverage", "decay_after"]

AVERAGED, UPDATES = "ema_state_dict", "ema_updates"  # of a checkpoint


class WeightAverage(Hook):
    """After every step: average ← d · average + (1 − d) · weights, over weights and the statistics of norms.

    d rises to the decay wanted (`decay_after`), so that an average of few steps is not one of the initial weights. The averages
    lie on the model's device and are worked out there in a few kernels; nothing waits for them. A checkpoint holds them under
    AVERAGED, as a whole state of the model.

    Args:
        model: in training, not wrapped.
        decay: d after many steps, in (0, 1).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.names = _names(model)  # a weight that two modules share has two
        self.followed = {id(tensor): tensor for tensor in self.names.values()}
        self.averages: dict[int, Tensor] = {}
        self.statistics = [id(tensor) for tensor in _statistics(model).values()]  # in an order that all processes have

    def before_train(self, runner: Any) -> None:
        if not self.averages:
            self._begin()

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        move = get_ema_multi_avg_fn(decay_after(self.updates, self.decay))
        move([*self.averages.values()], [*self.followed.values()], None)
        self.updates += 1

    def after_train_epoch(self, runner: Any) -> None:
        """Processes have learnt the same weights, and their norms have seen other images."""
        for key in self.statistics if processes.count() > 1 else ():
            self.averages[key].copy_(processes.mean(self.averages[key]))

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        averages = {name: self.averages[id(tensor)].cpu() for name, tensor in self.names.items()}
        checkpoint |= {AVERAGED: {**checkpoint["state_dict"], **averages}, UPDATES: self.updates}

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """The model has the checkpoint's weights after this; an average that begins there does so before the first step."""
        state, updates = checkpoint.get(AVERAGED), checkpoint.get(UPDATES)
        if state is None:
            note("the checkpoint has no averaged weights, so their average begins here")
        elif not isinstance(updates, int) or not self._fits(state):
            note("the checkpoint's averaged weights are not this model's, so their average begins anew")
        else:
            self._begin()
            self.updates = updates
            for name, tensor in self.names.items():
                self.averages[id(tensor)].copy_(state[name])

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """The model has the averages for its weights, and its own again afterwards."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _begin(self) -> None:
        self.updates, self.averages = 0, {key: value.detach().clone() for key, value in self.followed.items()}

    def _fits(self, state: Any) -> bool:
        return isinstance(state, Mapping) and all(
            isinstance(state.get(name), Tensor) and state[name].shape == tensor.shape
            for name, tensor in self.names.items()
        )

    @torch.no_grad()
    def _swap(self) -> None:
        for key, weights in self.followed.items():
            kept = weights.clone()
            weights.copy_(self.averages[key])
            self.averages[key].copy_(kept)


def decay_after(updates: int, decay: float) -> float:
    """The decay of a step after so many: it rises as TensorFlow's `ExponentialMovingAverage` lets it, whatever a run's length.

    >>> [round(decay_after(updates, 0.999), 3) for updates in (0, 90, 10_000)]
    [0.1, 0.91, 0.999]
    """
    return min(decay, (1 + updates) / (10 + updates))


def _names(model: nn.Module) -> dict[str, Tensor]:
    """What changes in training, under every name that it has."""
    weights = model.named_parameters(remove_duplicate=False)
    return {**{name: weight for name, weight in weights if weight.requires_grad}, **_statistics(model)}


def _statistics(model: nn.Module) -> dict[str, Tensor]:
    """Running means and variances of norms."""
    return {
        f"{name}.{which}": value
        for name, module in model.named_modules(remove_duplicate=False)
        if isinstance(module, _NormBase)
        for which, value in module.named_buffers(recurse=False)
        if value.is_floating_point()
    }

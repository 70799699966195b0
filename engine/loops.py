"""What a step and an evaluation of a training are: mmengine's loops, with batches in parts and a second set of weights."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from mmengine.runner import EpochBasedTrainLoop, Runner, ValLoop
from torch import Tensor, nn

from .averaging import WeightAverage

__all__ = ["EMA", "Evaluation", "Steps", "check_parts", "learn_from"]

EMA = "ema"  # the metric that is a dict: metrics of the averaged weights


class Steps(EpochBasedTrainLoop):
    """mmengine's loop, whose steps take a batch in parts.

    A step stays a step: its learning rate, its line of metrics and the epoch's length are those of the whole batch, and no
    gradient is left over at an epoch's end.

    Args:
        parts: of a batch, as many as the optimizer's wrapper accumulates gradients over.
        runner, dataloader, named: as mmengine's.
    """

    def __init__(self, runner: Runner, dataloader: Any, parts: int, **named: Any) -> None:
        super().__init__(runner, dataloader, **named)
        self.parts = parts

    def run(self) -> nn.Module:
        """mmengine's; its wrapper counts parts."""
        done, most = self.iter * self.parts, self.max_iters * self.parts
        self.runner.optim_wrapper.initialize_count_status(self.runner.model, done, most)
        return super().run()

    def run_iter(self, idx: int, data_batch: Any) -> None:
        """A step: all parts, and what its hooks see is the mean over them."""
        self.runner.call_hook("before_train_iter", batch_idx=idx, data_batch=data_batch)
        outputs = learn_from(self.runner.model, data_batch, self.runner.optim_wrapper, self.parts)
        self.runner.call_hook("after_train_iter", batch_idx=idx, data_batch=data_batch, outputs=outputs)
        self._iter += 1


def learn_from(model: nn.Module, batch: dict[str, Any], wrapper: OptimWrapper, parts: int = 1) -> dict[str, Tensor]:
    """A step of training on a batch in so many parts; the means of what the parts gave.

    Raises:
        ValueError: for a batch of fewer images than parts.
    """
    count = len(batch["inputs"])
    check_parts(count, parts)
    ends = [count * number // parts for number in range(parts + 1)]
    slices = [slice(*span) for span in pairwise(ends)]
    found = [model.train_step({key: part[s] for key, part in batch.items()}, wrapper) for s in slices]
    names = dict.fromkeys(name for one in found for name in one)
    return {name: torch.stack([one[name] for one in found if name in one]).mean(0) for name in names}


def check_parts(images: int, parts: int) -> None:
    """Raise ValueError for a batch of fewer images than parts."""
    if images < parts:
        raise ValueError(f"schedule.accumulate: {images} images cannot be taken in {parts} parts; give fewer parts")


class Evaluation(ValLoop):
    """Measures the weights, and then their average if there is one; hooks get all metrics at once, the average's under EMA.

    Each of the two ends with a stage of its own, `after_measuring`, for hooks that have a method of that name.

    Args:
        runner: of the training.
        average: of its weights.
    """

    def __init__(self, runner: Runner, dataloader: Any, evaluator: Any, average: WeightAverage | None = None) -> None:
        super().__init__(runner, dataloader, evaluator)
        self.average = average

    def run(self) -> dict[str, Any]:
        """Evaluate once; the metrics."""
        self.runner.call_hook("before_val")
        self.runner.call_hook("before_val_epoch")
        self.runner.model.eval()
        metrics = self._measured()
        if self.average:
            with self.average.in_use():
                metrics[EMA] = self._measured()
        self.runner.call_hook("after_val_epoch", metrics=metrics)
        self.runner.call_hook("after_val")
        return metrics

    def _measured(self) -> dict[str, Any]:
        for number, batch in enumerate(self.dataloader):
            self.run_iter(number, batch)
        metrics = self.evaluator.evaluate(len(self.dataloader.dataset))
        self.runner.call_hook("after_measuring")
        return metrics

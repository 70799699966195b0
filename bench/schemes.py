"""What schemes cost a query detector: parameters, a training step's time and memory beside the plain detector, and inference.

All sides train on the same simulated batch and take turns; memory is what a fresh process needs for a step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..detectors import QueryDetector
from ..detectors.targets import targets_of
from ..engine.config import compose
from ..engine.runner import calm
from .memory import extra_bytes
from .predict.forms import eager
from .step.conditions import Conditions, make_batch, simulated_source
from .step.contender import Contender, ours
from .step.measures import take_turns

__all__ = ["SchemeRow", "measure"]


@dataclass(frozen=True)
class SchemeRow:
    """A scheme on a detector beside the detector alone.

    Attributes:
        matches: pairs per object in the last layer of every output; denoising is left out.
        parameters: that only training has.
        seconds, plain_seconds: of a training step, medians.
        memory, plain_memory: bytes that a step needs besides the model.
        inference, plain_inference: seconds, medians.
    """

    scheme: str
    matches: float
    parameters: int
    seconds: float
    plain_seconds: float
    memory: int
    plain_memory: int
    inference: float
    plain_inference: float

    def to_dict(self) -> dict[str, Any]:
        ratios = {"ratio": self.seconds / self.plain_seconds, "memory_ratio": self.memory / self.plain_memory}
        return {**asdict(self), **ratios, "inference_ratio": self.inference / self.plain_inference}


def measure(detector: str, schemes: Sequence[str], conditions: Conditions) -> Iterator[SchemeRow]:
    """A row of each scheme, as soon as it is there."""
    plain_memory = extra_bytes(partial(prepare, detector, None, conditions))
    plain = contender(detector, None, conditions)
    for scheme in schemes:
        bytes_needed = extra_bytes(partial(prepare, detector, scheme, conditions))
        sides = {scheme: contender(detector, scheme, conditions), "": plain}
        batch = make_batch(conditions)
        steps = take_turns({n: partial(_train, side, batch) for n, side in sides.items()}, conditions.steps)
        looks = take_turns(
            {n: partial(_predict, side, conditions, batch) for n, side in sides.items()}, conditions.steps
        )
        model = sides[scheme].model
        yield SchemeRow(
            scheme,
            matches_per_object(model, batch),
            sum(parameter.numel() for parameter in model.extra.parameters()),
            *(steps[name][0] for name in sides),
            bytes_needed,
            plain_memory,
            *(looks[name][0] for name in sides),
        )


def contender(detector: str, scheme: str | None, conditions: Conditions) -> Contender:
    """The detector under a scheme, ready to train."""
    torch.manual_seed(0)
    with calm():
        return ours(compose(detector, None, simulated_source(), scheme=scheme)["model"], conditions)


def prepare(detector: str, scheme: str | None, conditions: Conditions) -> Callable[[], list[Tensor]]:
    """A training step of a detector of its own, for a fresh process."""
    side, batch = contender(detector, scheme, conditions), make_batch(conditions)
    return partial(_train, side, batch)


def _train(side: Contender, batch: dict[str, Any]) -> list[Tensor]:
    side.step(deepcopy(batch))
    return []


def _predict(side: Contender, conditions: Conditions, batch: dict[str, Any]) -> None:
    eager(side, conditions)(batch)
    side.model.train()


@torch.no_grad()
def matches_per_object(model: QueryDetector, batch: dict[str, Any]) -> float:
    """Pairs of the last layer of every output but denoising, groups together, per object of the batch."""
    data = model.data_preprocessor(deepcopy(batch), True)
    targets = targets_of(data["data_samples"]).to(data["inputs"].device)
    outputs = model._outputs(data["inputs"], data["data_samples"], targets.sizes, targets)
    assignments, _ = model.bbox_head.assign_all_and_loss(outputs, targets)
    last, count = len(outputs.logits) - 1, 0
    for name, assignment in assignments.items():
        groups = outputs.extra[name].groups if name in outputs.extra else 1
        layer = assignment.matches.image // (groups * len(targets.boxes))
        learns = (assignment.positive > 0) | (assignment.box > 0)
        count += int((learns & (layer == last)).sum()) if name != "dn" else 0
    return count / max(int(targets.mask.sum()), 1)

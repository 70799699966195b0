"""That an assigner is an ordinary object, and its loss an ordinary function."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.gradcheck import GradcheckError
from torch.overrides import TorchFunctionMode

from .batches import answer, learned, random_batch
from .law import Make, alike, law, require
from .numbers import in_type


@law
def copies_answer_alike(make: Make, seed: int) -> None:
    """What pickle and deepcopy make of an assigner, unused or used, answers as it does."""
    for copied in (_pickled, copy.deepcopy):
        assigner = make()
        predictions, targets = random_batch(assigner, seed)
        before = copied(assigner)
        wanted = answer(assigner, predictions, targets)
        for twin in (before, copied(assigner)):
            alike(
                answer(twin, predictions, targets), wanted, f"{copied.__name__.strip('_')}: another answer", exact=True
            )


def _pickled(assigner: Any) -> Any:
    try:
        return pickle.loads(pickle.dumps(assigner))
    except (AttributeError, TypeError, pickle.PicklingError) as error:
        require(False, f"it cannot be pickled ({error})")


@law
def the_state_dict_is_the_state(make: Make, seed: int) -> None:
    """An assigner restored from another's state dict answers as that one."""
    assigner, other = make(), make()
    for parameter in assigner.parameters():
        torch.nn.init.uniform_(parameter, 0.5, 1.0)
    predictions, targets = random_batch(assigner, seed)
    other.load_state_dict(assigner.state_dict())
    alike(answer(other, predictions, targets), answer(assigner, predictions, targets), "another answer", exact=True)


@law
def the_gradient_is_the_derivative(make: Make, seed: int) -> None:
    """The loss has the gradient of its value, what it detaches held fixed."""
    assigner = make().double().eval()  # what it remembers of batches stays as it is
    predictions, targets = random_batch(assigner, seed + 3)
    predictions, fixed = in_type(predictions, torch.float64), HeldFixed()

    def losses(*values: Tensor) -> tuple[Tensor, ...]:
        fixed.restart()
        with fixed:
            return tuple(assigner.loss(replace(predictions, **dict(zip(names, values, strict=True))), targets).values())

    names = list(learned(predictions))
    inputs = tuple(tensor.requires_grad_() for tensor in learned(predictions).values())
    try:
        torch.autograd.gradcheck(losses, inputs, fast_mode=True, eps=1e-7, atol=1e-5)
    except GradcheckError as error:
        require(False, f"the gradient is not the derivative: {' '.join(str(error).split())[:200]}")


class HeldFixed(TorchFunctionMode):
    """Inside it, `detach` answers with what it answered the first time: detached parts do not follow a perturbation."""

    def __init__(self) -> None:
        super().__init__()
        self.recorded: list[Tensor] = []
        self.position, self.recording = 0, True

    def __torch_function__(
        self, function: Any, types: Any, arguments: Any = (), keywords: Mapping | None = None
    ) -> Any:
        if function is not torch.Tensor.detach:
            return function(*arguments, **(keywords or {}))
        if self.recording:
            self.recorded.append(arguments[0].detach().clone())
        self.position += 1
        return self.recorded[self.position - 1]

    def restart(self) -> None:
        """Begin again with what is detached first."""
        self.recording, self.position = not self.recorded, 0

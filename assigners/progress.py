"""How far a training has come, for the parts of an assigner that change on the way."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .checks import check_share


class Progress(nn.Module):
    """The share of a training that is done, in [0, 1]; saved with the checkpoint and so equal after a resume.

    A part that changes on the way holds one and reads `share`; whoever trains calls `set_progress` before each step.

    >>> progress = Progress()
    >>> set_progress(nn.Sequential(progress), 0.25)
    >>> progress.share
    0.25
    """

    def __init__(self) -> None:
        super().__init__()
        self.share = 0.0

    def get_extra_state(self) -> Tensor:
        return torch.tensor(self.share, dtype=torch.float64)

    def set_extra_state(self, state: Tensor) -> None:
        self.share = float(state)

    def extra_repr(self) -> str:
        return f"share={self.share:g}"


def set_progress(model: nn.Module, share: float) -> None:
    """Tell every part of a model that asks how much of the training is done, a share in [0, 1].

    Raises:
        ValueError: for a share outside [0, 1].
    """
    check_share("share", share)
    for module in model.modules():
        if isinstance(module, Progress):
            module.share = float(share)

"""Refuses forward-mode derivatives, which a kernel without a formula for them would drop unseen."""

from __future__ import annotations

from torch import Tensor
from torch.autograd import forward_ad

__all__ = ["refuse_tangents"]


def refuse_tangents(op: str, instead: str, *tensors: Tensor | None) -> None:
    """Raise where a tensor carries the tangent of a ``dual_level``, ``torch.func.jvp`` or ``jacfwd``.

    Args:
        op: name of the op that has no forward mode.
        instead: what has one, as the subject of a sentence.
        tensors: its arguments; None is no argument.

    Raises:
        RuntimeError: for the first tangent.
    """
    if any(tensor is not None and forward_ad.unpack_dual(tensor).tangent is not None for tensor in tensors):
        raise RuntimeError(f"{op} has no forward-mode derivative and would drop the tangent; {instead} has one.")

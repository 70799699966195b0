"""Dropout whose zeros follow from a seed, so that the CPU's kernel draws them again on the way back and stores none.

On a CPU torch draws one number at a time, which takes most of its dropout. Here four 16-bit numbers are a word of SplitMix64
(Steele, Lea and Flood, OOPSLA 2014), any of which can be had without those before it.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from ._forward_mode import refuse_tangents
from ._library import has_kernels, tell_missing
from ._portable import portable

__all__ = ["dropout", "dropout_reference"]

RANGE = 1 << 16  # of a number that is drawn for an entry
PER_WORD = 4
INCREMENT, FACTORS, SHIFTS = 0x9E3779B97F4A7C15, (0xBF58476D1CE4E5B9, 0x94D049BB133111EB), (30, 27, 31)


def dropout(x: Tensor, probability: float, seed: int) -> Tensor:
    """Zero entries at random and scale the others so that the mean stays.

    Which entries are zeroed follows from the seed, the probability and the entry's place in the order of indices alone. A
    zeroed entry is 0 whatever it was, and has no gradient. On devices other than a CPU the reference runs.

    Args:
        x: any shape, floating point, any strides.
        probability: of zero, 0 <= probability < 1; to the nearest of 1 / 65536.
        seed: any 64-bit number, signed or not. To torch.compile it is a constant: another one compiles anew.

    Returns:
        The shape and dtype of x, contiguous; half types are scaled in float32.

    Raises:
        ValueError: if x is not floating point or the probability not as above.
        RuntimeError: for a tangent of forward-mode differentiation, where the kernel runs.

    It can be differentiated any number of times, but under no transform of ``torch.func``: for those, call the reference.

    >>> dropout(torch.ones(8), 0.5, seed=0)
    tensor([2., 0., 2., 2., 0., 2., 2., 0.])
    """
    dropped = _checked(x, probability)
    if x.device.type != "cpu" or portable():
        return _drop(x, dropped, seed)
    if not has_kernels("cpu"):
        tell_missing("cpu")
        return _drop(x, dropped, seed)
    _refuse_tangents(x)
    return torch.ops.detassign.dropout(x, dropped, _signed(seed))


def dropout_reference(x: Tensor, probability: float, seed: int) -> Tensor:
    """:func:`dropout` in plain torch: what the kernel is tested against, and what runs where there is none.

    It keeps a byte for every entry. Under ``vmap`` all examples have the same zeros, and a tracer keeps the size that it saw.
    """
    return _drop(x, _checked(x, probability), seed)


_refuse_tangents = partial(refuse_tangents, "dropout", "dropout_reference")


def _checked(x: Tensor, probability: float) -> int:
    """How many of the numbers that are drawn zero an entry."""
    if not x.is_floating_point():
        raise ValueError(f"Expected x to be floating point but got {x.dtype}.")
    if not 0 <= probability < 1:
        raise ValueError(f"Expected probability to be at least 0 and below 1 but got {probability}.")
    return min(round(probability * RANGE), RANGE - 1)


def _drop(x: Tensor, dropped: int, seed: int) -> Tensor:
    kept = _draws(x.numel(), seed, x.device).view(x.shape) >= dropped
    scaled = x.to(torch.promote_types(x.dtype, torch.float32)) * (RANGE / (RANGE - dropped))
    return torch.where(kept, scaled, 0.0).to(x.dtype)


def _draws(count: int, seed: int, device: torch.device) -> Tensor:
    """(count,) int32, numbers from 0 to 65535."""
    words = torch.arange(1, -(-count // PER_WORD) + 1, device=device) * _signed(INCREMENT) + _signed(seed)
    for shift, factor in zip(SHIFTS, (*FACTORS, 1), strict=True):
        above = (words >> shift) & ((1 << (64 - shift)) - 1)  # torch shifts the sign in
        words = (words ^ above) * _signed(factor)
    return words.view(torch.int16)[:count].int() & (RANGE - 1)


def _signed(word: int) -> int:
    """The number whose 64 bits are those of an unsigned one."""
    return (word + (1 << 63)) % (1 << 64) - (1 << 63)


def _setup_context(ctx: Any, inputs: tuple[Tensor, int, int], output: Tensor) -> None:
    _, ctx.dropped, ctx.seed = inputs


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
    _refuse_tangents(grad)
    return torch.ops.detassign.dropout(grad, ctx.dropped, ctx.seed), None, None


def _no_vmap(*args: Any) -> None:
    raise RuntimeError("dropout does not run under vmap; dropout_reference does.")


def _fake(x: Tensor, dropped: int, seed: int) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


if has_kernels("cpu"):
    torch.library.register_fake("detassign::dropout", _fake)
    torch.library.register_autograd("detassign::dropout", _backward, setup_context=_setup_context)
    torch.library.register_vmap("detassign::dropout", _no_vmap)

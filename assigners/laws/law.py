"""What a law is: a claim with a name that is tried on random batches, and broken with a sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from .. import Assigner

Make = Callable[[], Assigner]
"""Makes the assigner in question, a new one at each call."""


class Broken(AssertionError):
    """A law does not hold; the text says what was found."""


@dataclass(frozen=True)
class Law:
    """One claim about assigners.

    Attributes:
        name: to call it by.
        claim: in one sentence.
        trial: tries it once, given what makes the assigner and a seed; raises `Broken`, and may return what it measured.
    """

    name: str
    claim: str
    trial: Callable[[Make, int], str | None]

    def check(self, make: Make, seeds: Iterable[int] = range(8)) -> str:
        """Try the law with each seed; what it measured last, if it measures anything.

        Raises:
            Broken: with the seed and what was found.
        """
        measured = None
        for seed in seeds:
            try:
                measured = self.trial(make, seed)
            except Broken as broken:
                raise Broken(f"{broken} (seed {seed})") from broken
        return measured or ""


LAWS: dict[str, Law] = {}


def law(function: Callable[[Make, int], str | None]) -> Callable[[Make, int], str | None]:
    """Declare a law: the function's name, and its docstring as the claim."""
    LAWS[function.__name__] = Law(function.__name__, " ".join((function.__doc__ or "").split()), function)
    return function


def require(condition: bool | Tensor, found: str) -> None:
    """Break the law unless the condition holds."""
    if not condition:
        raise Broken(found)


def alike(got: Iterable[Tensor], wanted: Iterable[Tensor], found: str, exact: bool = False) -> None:
    """Break the law unless tensors agree, up to rounding or exactly."""
    relative, absolute = (0.0, 0.0) if exact else (1e-5, 1e-6)
    for ours, theirs in zip(got, wanted, strict=True):
        try:
            torch.testing.assert_close(ours, theirs, rtol=relative, atol=absolute)
        except AssertionError as error:
            raise Broken(f"{found}: {' '.join(str(error).split())}") from error

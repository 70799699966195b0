"""What is refused, and what is warned of, in the same words everywhere."""

from __future__ import annotations

from math import gcd
from numbers import Integral


class AssignmentWarning(RuntimeWarning):
    """An assignment goes on although something is wrong with what it was given."""


def check_count(name: str, value: int | None, least: int) -> None:
    """Raise ValueError for a number of things that is no whole number or below `least`; None is no number and passes."""
    if value is not None and (not isinstance(value, Integral) or isinstance(value, bool) or value < least):
        raise ValueError(f"{name}: expected a whole number of at least {least}, got {value!r}")


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise ValueError when `value` is none of the `choices` of an argument."""
    if value not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(choices)}, got {value!r}")


def check_share(name: str, value: float) -> None:
    """Raise ValueError for an argument outside [0, 1]."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name}: expected a number from 0 to 1, got {value!r}")


def check_order(low: str, least: float, high: str, most: float) -> None:
    """Raise ValueError when the lower of two limits, each with its argument's name, is above the other."""
    if least > most:
        raise ValueError(f"{low}: expected no more than {high} = {most!r}, got {least!r}")


def check_positive(name: str, value: float) -> None:
    """Raise ValueError for an argument that is not larger than 0."""
    if not value > 0:
        raise ValueError(f"{name}: expected a positive number, got {value!r}")


def check_norm_groups(groups: int | None, channels: int) -> None:
    """Raise ValueError when a GroupNorm cannot have so many groups of `channels`; None is no norm and passes."""
    check_count("norm_groups", groups, 1)
    if groups is not None and channels % groups:
        raise ValueError(
            f"norm_groups: {groups} does not divide {channels} channels; take {gcd(groups, channels)}, say"
        )

"""What goes with what: every matching x weighting x score model on every head, refused or not, and why.

Found by putting each combination together as a config would, from the registries and the heads' own declarations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

from ..assigners import MATCHINGS, SCORES, WEIGHTINGS, Assigner
from ..heads.dense import check_assigner, second_branch, take_branch
from ..heads.query import check_assigner as check_query_assigner

AXES = ("matching", "weighting", "score")


@dataclass(frozen=True)
class Combination:
    """A head under an assigner's parts, all by name; `reason` is why they are refused, None when they work."""

    head: str
    matching: str
    weighting: str
    score: str
    reason: str | None


@dataclass(frozen=True)
class Refusal:
    """Combinations of one head refused for one reason: every choice of one name from each axis."""

    head: str
    matching: tuple[str, ...]
    weighting: tuple[str, ...]
    score: tuple[str, ...]
    reason: str


def _check_dense(assigner: Assigner) -> None:
    check_assigner(assigner, second_branch(assigner))


def _check_dense_with(assigner: Assigner, branch: str | None) -> None:
    check_assigner(assigner, take_branch(assigner, branch))


HEADS: dict[str, Callable[[Assigner], None]] = {
    "dense": _check_dense,
    "dense, branch=centerness": partial(_check_dense_with, branch="centerness"),
    "dense, branch=objectness": partial(_check_dense_with, branch="objectness"),
    "dense, branch=None": partial(_check_dense_with, branch=None),
    "query": check_query_assigner,
}
"""Each head's check, which raises ValueError for an assigner that it cannot serve."""


def compatibility() -> list[Combination]:
    """All combinations, head by head, names in alphabetical order."""
    names = product(HEADS, MATCHINGS, WEIGHTINGS, SCORES)
    return [Combination(*combination, _reason(*combination)) for combination in names]


def refusals(combinations: Iterable[Combination]) -> list[Refusal]:
    """The refused combinations, those of one head and one reason together."""
    groups: dict[tuple[str, str], list[Combination]] = {}
    for combination in combinations:
        if combination.reason:
            groups.setdefault((combination.head, combination.reason), []).append(combination)
    return [refusal for group in groups.values() for refusal in _merged(group)]


def _reason(head: str, matching: str, weighting: str, score: str) -> str | None:
    try:
        HEADS[head](Assigner(matching, weighting, score, num_classes=1))
    except ValueError as error:
        return str(error)
    return None


def _merged(group: Sequence[Combination]) -> list[Refusal]:
    """One refusal if the group is every choice from its own axes, else one for the weightings that share the rest."""
    axes = [tuple(dict.fromkeys(getattr(combination, axis) for combination in group)) for axis in AXES]
    if len(group) == len(axes[0]) * len(axes[1]) * len(axes[2]):
        return [Refusal(group[0].head, *axes, group[0].reason)]
    rest: dict[str, list[tuple[str, str]]] = {}
    for combination in group:
        rest.setdefault(combination.weighting, []).append((combination.matching, combination.score))
    alike = [[c for c in group if rest[c.weighting] == choices] for choices in _distinct(rest.values())]
    parts = alike if len(alike) > 1 else [[combination] for combination in group]
    return [refusal for part in parts for refusal in _merged(part)]


def _distinct(choices: Iterable[list[tuple[str, str]]]) -> list[list[tuple[str, str]]]:
    return [list(one) for one in dict.fromkeys(tuple(choice) for choice in choices)]

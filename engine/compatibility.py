"""What goes with what: matchings on the places where an assigner acts, weightings under score models, and matchings with
weightings.

Found by putting each pair together as a config would, from the registries and the heads' own declarations; the other parts are
the plainest that work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import product

from ..assigners import MATCHINGS, SCORES, WEIGHTINGS, Assigner, build
from ..heads import dense, query

CLASSES = 1


@dataclass(frozen=True)
class Pair:
    """Two things by name; `reason` is why they do not go together, None when they do; `instead` what goes with the first."""

    first: str
    second: str
    reason: str | None
    instead: tuple[str, ...] = ()


def _on_dense(assigner: Assigner) -> None:
    dense.check_assigner(assigner, dense.second_branch(assigner))


PLACES: dict[str, tuple[str, Callable[[Assigner], None]]] = {
    "FCOS-like": ("fcos", _on_dense),
    "query decoder": ("hungarian", query.check_assigner),
    "encoder proposals": ("hungarian", query.check_assigner),
}
"""Where an assigner may act: the usual assigner there, and the head's check, which raises ValueError for what it lacks."""


def matchings_on_places() -> list[Pair]:
    """Every matching on every place."""
    return _told((m, place, partial(_place, m, place)) for m, place in product(MATCHINGS, PLACES))


def weightings_under_scores() -> list[Pair]:
    """Every weighting under every score model."""
    return _told((w, score, partial(_any_matching, w, score)) for w, score in product(WEIGHTINGS, SCORES))


def matchings_with_weightings() -> list[Pair]:
    """Every matching with every weighting, under the score model that suits them best."""
    return _told((m, w, partial(_home, m, w)) for m, w in product(MATCHINGS, WEIGHTINGS))


def grid(pairs: Iterable[Pair]) -> dict[str, dict[str, Pair]]:
    """The pairs by their first and second names."""
    rows: dict[str, dict[str, Pair]] = {}
    for pair in pairs:
        rows.setdefault(pair.first, {})[pair.second] = pair
    return rows


def _place(matching: str, place: str) -> None:
    home, check = PLACES[place]
    check(_plainest(lambda weighting: build(f"{matching}+{weighting}", CLASSES, home), ["focal", *WEIGHTINGS]))


def _any_matching(weighting: str, score: str) -> None:
    matchings = ["center_prior", *MATCHINGS]
    _plainest(lambda matching: Assigner(matching, weighting, score, num_classes=CLASSES), matchings)


def _home(matching: str, weighting: str) -> None:
    build(f"{matching}+{weighting}", CLASSES, "fcos")


def _plainest(make: Callable[[str], Assigner], names: Iterable[str]) -> Assigner:
    """The first that works; where none does, what the first is refused for."""
    refused = None
    for name in names:
        try:
            return make(name)
        except ValueError as error:
            refused = refused or error
    raise refused


def _told(attempts: Iterable[tuple[str, str, Callable[[], None]]]) -> list[Pair]:
    reasons: Mapping[tuple[str, str], str | None] = {(a, b): _reason(attempt) for a, b, attempt in attempts}
    works: dict[str, tuple[str, ...]] = {}
    for (first, second), reason in reasons.items():
        works[first] = (*works.get(first, ()), *([second] if reason is None else []))
    return [Pair(a, b, reason, works[a] if reason else ()) for (a, b), reason in reasons.items()]


def _reason(attempt: Callable[[], None]) -> str | None:
    try:
        attempt()
    except ValueError as error:
        return str(error)
    return None

"""Holding an assigner, or everything that a module registers, to the laws."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

from torch import nn

from .. import (
    AGGREGATORS,
    ASSIGNERS,
    BOX_LOSSES,
    COSTS,
    DISCOUNTS,
    MATCHINGS,
    QUALITIES,
    SCORES,
    SIMILARITIES,
    SOFT_TARGETS,
    WEIGHTINGS,
    Assigner,
    build,
)
from ..assigner import refusal
from ..registry import EVERY, Registry, unknown_name
from .batches import CLASSES
from .law import LAWS, Broken, Law, Make

AROUND = {"matching": MATCHINGS, "weighting": WEIGHTINGS, "score": SCORES}


@dataclass(frozen=True)
class Outcome:
    """Whether an assigner keeps a law; `found` says how it breaks it, or what was measured."""

    law: str
    holds: bool
    found: str


def check_assigner(
    assigner: Assigner | str | Mapping[str, Any] | Callable[[], Assigner],
    seeds: Iterable[int] = range(8),
    laws: Iterable[str] | None = None,
) -> list[Outcome]:
    """Which laws an assigner keeps, each tried on a random batch per seed.

    Args:
        assigner: what `detassign.assigners.build` takes, or a function that makes one.
        seeds: of the batches.
        laws: names of those to try; None tries all.

    Raises:
        ValueError: when there is no such assigner or law.

    >>> outcomes = check_assigner("dw", seeds=range(2))
    >>> [outcome.law for outcome in outcomes if not outcome.holds]
    []
    """
    make = assigner if callable(assigner) and not isinstance(assigner, nn.Module) else _make(assigner)
    make()  # refuses here what cannot be built
    return list(try_laws(make, list(seeds), laws))


def try_laws(make: Make, seeds: Iterable[int], laws: Iterable[str] | None = None) -> Iterator[Outcome]:
    """The outcome of one law after the other."""
    seeds = list(seeds)
    for name in LAWS if laws is None else laws:
        if name not in LAWS:
            raise ValueError(unknown_name("law", name, LAWS))
        yield _outcome(LAWS[name], make, seeds)


def _outcome(law: Law, make: Make, seeds: list[int]) -> Outcome:
    """What came of a law; any failure breaks it, since a part of one's own may fail in any way."""
    try:
        return Outcome(law.name, True, law.check(make, seeds))
    except Broken as broken:
        return Outcome(law.name, False, str(broken))
    except Exception as error:
        return Outcome(law.name, False, " ".join(f"{type(error).__name__}: {error}".split()))


def _make(assigner: Any) -> Make:
    """What makes the assigner that is given, or that a spec says."""
    one: Callable[..., Assigner] = (
        copy.deepcopy if isinstance(assigner, nn.Module) else partial(build, num_classes=CLASSES)
    )
    return partial(one, assigner)


def specs_around(module: str) -> dict[str, str | dict[str, Any]]:
    """An assigner around everything that a module has registered, by the part's kind and name.

    A part is put into the plainest assigner that takes it.
    """
    return {label: spec for label, (spec, _) in _tried(module).items() if spec is not None}


def left_out(module: str) -> dict[str, str]:
    """What a module has registered that no law can be tried on, by kind and name, and why."""
    return {label: reason for label, (spec, reason) in _tried(module).items() if spec is None}


def _tried(module: str) -> dict[str, tuple[Any, str]]:
    """A spec, or a reason why there is none, for everything that a module has registered."""
    found = [(registry, name) for registry in EVERY for name in registry if registry[name].__module__ == module]
    return {f"{registry.kind} {name}": _try(registry, name) for registry, name in found}


def _try(registry: Registry, name: str) -> tuple[Any, str]:
    put = next((put for kind, put in KINDS if kind is registry), None)
    if put is None:
        return None, "no law speaks of its kind"
    try:
        registry.build(name, num_classes=CLASSES)
        return put(name), ""
    except ValueError as error:
        return None, f"{error}; check it by a spec with its arguments"


def around(**given: str) -> str:
    """ "matching+weighting+score" around the given part, the others the plainest that go with it.

    >>> around(weighting="cross_entropy")
    'center_prior+cross_entropy+softmax'

    Raises:
        ValueError: when nothing goes with it.
    """
    plain = {"matching": "center_prior", "weighting": "dual" if "score" in given else "focal", "score": "sigmoid"}
    choices = [[given[part]] if part in given else _first(known, plain[part]) for part, known in AROUND.items()]
    for names in product(*choices):
        parts = [known.build(name, num_classes=CLASSES) for name, known in zip(names, AROUND.values(), strict=True)]
        if refusal(*parts) is None:
            return "+".join(names)
    raise ValueError(f"no assigner takes the {' '.join(next(iter(given.items())))}")


def _first(registry: Registry, name: str) -> list[str]:
    """The names of a registry, the given one first."""
    return sorted(registry, key=lambda other: other != name)


def _with_cost(name: str) -> dict[str, Any]:
    others = {} if name in ("l1", "giou") else {"l1": 5.0}  # which settle ties
    return {"matching": {"type": "hungarian", "costs": {name: 1.0, **others}}, "weighting": "focal"}


def _with_quality(name: str) -> dict[str, Any]:
    return {"matching": "center_prior", "weighting": {"type": "dual", "quality": name}}


def _with_similarity(name: str) -> dict[str, Any]:
    return {"matching": {"type": "ranking", "metric": name}, "weighting": "focal"}


def _with_soft_target(name: str) -> dict[str, Any]:
    return {"matching": "atss", "weighting": {"type": "soft_target", "target": name}}


def _with_aggregator(name: str) -> dict[str, Any]:
    return {"matching": "center_prior", "weighting": {"type": "bag", "aggregator": name}}


def _with_discount(name: str) -> dict[str, Any]:
    return {"matching": "center_prior", "weighting": {"type": "bag", "discount": name}}


def _with_box_loss(name: str) -> dict[str, Any]:
    others = {} if name.endswith("l1") else {"relative_l1": 1.0}  # so that boxes learn, whatever the distance is of
    return {"matching": "center_prior", "weighting": "focal", "box_loss": {name: 1.0, **others}}


KINDS: list[tuple[Registry, Callable[[str], str | dict[str, Any]]]] = [
    (ASSIGNERS, str),
    (MATCHINGS, lambda name: around(matching=name)),
    (WEIGHTINGS, lambda name: around(weighting=name)),
    (SCORES, lambda name: around(score=name)),
    (SOFT_TARGETS, _with_soft_target),
    (AGGREGATORS, _with_aggregator),
    (DISCOUNTS, _with_discount),
    (QUALITIES, _with_quality),
    (SIMILARITIES, _with_similarity),
    (COSTS, _with_cost),
    (BOX_LOSSES, _with_box_loss),
]
"""What puts a part of each kind into an assigner."""

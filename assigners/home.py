"""Parts by name at home in a detector: what a spec leaves open is what the detector's usual assigner has.

Two matchings are compared by what they match when everything else is equal. So `hungarian+dual` in DINO keeps DINO's costs
and box losses, `center_sampling+focal` on an FCOS head is `fcos`, and `atss+focal` is `atss`: of the assigners that people
know, the one that is made of just these parts and has the detector's box loss says their constants.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

from .assigner import Assigner, refusal
from .description import shown
from .registry import ASSIGNERS, EVERY, MATCHINGS, SCORES, WEIGHTINGS

CONSTANTS = ("box_weight", "box_scale", "box_floor", "class_scale", "count", "floor_per_image", "least_side")
"""Arguments of weightings that belong to the detector rather than to the idea."""


def at_home(spec: Mapping[str, Any], home: Any, num_classes: int) -> Assigner:
    """An assigner of named parts, completed from a detector's usual one.

    Args:
        spec: {"matching": ..., "weighting": ..., "score": ..., "box_loss": ...}; the first two are needed.
        home: the detector's usual assigner.
        num_classes: C.
    """
    matching = MATCHINGS.build(spec["matching"], num_classes=num_classes, score=home.score)
    weighting = WEIGHTINGS.build(spec["weighting"], num_classes=num_classes)
    model = next(_presets((home,), num_classes, matching=matching, weighting=weighting), home)
    weighting = _weighting(spec["weighting"], weighting, model, num_classes)
    score = SCORES.build(spec["score"]) if "score" in spec else _fitting_score(matching, weighting, model.score)
    known = next(_presets((model, home), num_classes, matching=matching, score=score), None)
    parts = {
        "box_loss": home.box_loss,
        **spec,
        "matching": known.matching if known and _is_bare(spec["matching"]) else spec["matching"],
        "weighting": weighting,
        "score": score,
    }
    return Assigner(**parts, num_classes=num_classes)


def _fitting_score(matching: Any, weighting: Any, usual: Any) -> Any:
    """The detector's score model, or the plainest that goes with the parts where it does not."""
    scores = chain([usual], map(SCORES.build, ("sigmoid", *SCORES)))  # built as far as is asked
    return next((score for score in scores if refusal(matching, weighting, score) is None), usual)


def kind(part: Any) -> Any:
    """What two parts have in common that differ in nothing but constants."""
    return getattr(part, "kind", type(part))


def _presets(usual: Sequence[Any], num_classes: int, **parts: Any) -> Iterator[Any]:
    """The usual assigners, then all whose name says everything and that measure boxes alike; those of these kinds of parts."""
    wanted = {"box_loss": shown(usual[0].box_loss), **{name: kind(part) for name, part in parts.items()}}
    yield from (assigner for assigner in usual if wanted.items() <= _traits(assigner).items())
    registered = tuple(tuple(registry.items()) for registry in EVERY)
    for name, traits in _traits_of_presets(num_classes, registered).items():
        if wanted.items() <= traits.items():
            yield ASSIGNERS.build(name, num_classes=num_classes)


@lru_cache(maxsize=8)
def _traits_of_presets(num_classes: int, registered: tuple[Any, ...]) -> dict[str, dict[str, Any]]:
    """By name; kept as long as nothing else is registered, since building every preset takes far longer than one assigner."""
    return {name: _traits(ASSIGNERS.build(name, num_classes=num_classes)) for name in ASSIGNERS}


def _traits(assigner: Any) -> dict[str, Any]:
    """What an assigner is found by: the kinds of its parts, and its box loss."""
    kinds = {name: kind(getattr(assigner, name)) for name in ("matching", "weighting", "score")}
    return {"box_loss": shown(assigner.box_loss), **kinds}


def _weighting(spec: Any, weighting: Any, model: Any, num_classes: int) -> Any:
    if kind(weighting) == kind(model.weighting) and _is_bare(spec):
        return model.weighting
    constants = {name: getattr(model.weighting, name) for name in CONSTANTS if hasattr(model.weighting, name)}
    return WEIGHTINGS.build(spec, num_classes=num_classes, **constants)


def _is_bare(spec: Any) -> bool:
    return (isinstance(spec, str) and spec.isidentifier()) or (isinstance(spec, Mapping) and set(spec) == {"type"})

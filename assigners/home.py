"""Parts by name at home in a detector: what a spec leaves open is what the detector's usual assigner has.

Two matchings are compared by what they match when everything else is equal. So `hungarian+dual` in DINO keeps DINO's costs
and box losses, `center_sampling+focal` on an FCOS head is `fcos`, and `atss+focal` is `atss`: of the assigners that people
know, the one that is made of just these parts and has the detector's box loss says their constants.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .assigner import Assigner, refusal
from .description import shown
from .registry import ASSIGNERS, MATCHINGS, SCORES, WEIGHTINGS

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
    model = _first(_made_of(matching, weighting, home, num_classes)) or home
    weighting = _weighting(spec["weighting"], weighting, model, num_classes)
    score = SCORES.build(spec["score"]) if "score" in spec else _fitting_score(matching, weighting, model.score)
    known = _with_matching(matching, score, (model, *_presets(home, num_classes)))
    parts = {
        "box_loss": home.box_loss,
        **spec,
        "matching": _known(spec["matching"], spec["matching"], known),
        "weighting": weighting,
        "score": score,
    }
    return Assigner(**parts, num_classes=num_classes)


def _fitting_score(matching: Any, weighting: Any, usual: Any) -> Any:
    """The detector's score model, or the plainest that goes with the parts where it does not."""
    scores = (usual, *(SCORES.build(name) for name in ("sigmoid", *SCORES)))
    return next((score for score in scores if refusal(matching, weighting, score) is None), usual)


def kind(part: Any) -> Any:
    """What two parts have in common that differ in nothing but constants."""
    return getattr(part, "kind", type(part))


def _presets(home: Any, num_classes: int) -> Iterator[Any]:
    """The detector's own assigner, then all whose name says everything and that measure boxes as it does."""
    yield home
    for name in ASSIGNERS:
        preset = ASSIGNERS.build(name, num_classes=num_classes)
        if shown(preset.box_loss) == shown(home.box_loss):
            yield preset


def _made_of(matching: Any, weighting: Any, home: Any, num_classes: int) -> Iterator[Any]:
    for preset in _presets(home, num_classes):
        if (kind(preset.matching), kind(preset.weighting)) == (kind(matching), kind(weighting)):
            yield preset


def _with_matching(matching: Any, score: Any, presets: Iterable[Any]) -> Any:
    """The first assigner's matching that is of this kind and reads predictions by this score model; or None."""
    alike = (preset for preset in presets if kind(preset.score) == kind(score))
    return _first(preset.matching for preset in alike if kind(preset.matching) == kind(matching))


def _weighting(spec: Any, weighting: Any, model: Any, num_classes: int) -> Any:
    if kind(weighting) == kind(model.weighting) and _is_bare(spec):
        return model.weighting
    constants = {name: getattr(model.weighting, name) for name in CONSTANTS if hasattr(model.weighting, name)}
    return WEIGHTINGS.build(spec, num_classes=num_classes, **constants)


def _known(spec: Any, part: Any, known: Any) -> Any:
    """The part that is known, where the spec says no more than a name."""
    return known if known is not None and _is_bare(spec) else part


def _is_bare(spec: Any) -> bool:
    return (isinstance(spec, str) and spec.isidentifier()) or (isinstance(spec, Mapping) and set(spec) == {"type"})


def _first(values: Iterator[Any]) -> Any:
    return next(iter(values), None)

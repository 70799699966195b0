"""Small random batches for any assigner, and the assigners to try on them: everything the registries know."""

from hypothesis import settings

from detassign.assigners import ASSIGNERS, MATCHINGS, SCORES, WEIGHTINGS, build
from detassign.assigners.laws.batches import (
    CLASSES,
    SIDE,
    answer,
    leaves,
    random_batch,
    random_boxes,
    random_predictions,
    random_targets,
)
from detassign.assigners.laws.check import around

__all__ = [
    "CLASSES",
    "SIDE",
    "answer",
    "built",
    "every_spec",
    "law",
    "leaves",
    "random_batch",
    "random_boxes",
    "random_predictions",
    "random_targets",
]

law = settings(derandomize=True, deadline=None, max_examples=25, database=None)
"""Hypothesis settings of every law: the same examples on every run."""


def every_spec() -> list[str]:
    """What `build` takes: every preset, every matching that is in none of them, every weighting, every score model."""
    in_presets = {type(built(name).matching) for name in ASSIGNERS}
    others = [name for name in MATCHINGS if type(MATCHINGS.build(name, num_classes=CLASSES)) not in in_presets]
    specs = [
        *ASSIGNERS,
        *(around(matching=name) for name in others),
        *(around(weighting=name) for name in WEIGHTINGS),
        *(around(score=name) for name in SCORES),
    ]
    return list(dict.fromkeys(specs))


def built(spec):
    """The assigner of a spec, for the batches of this module."""
    return build(spec, num_classes=CLASSES)

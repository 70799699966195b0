"""Geometry may be one for all images or each image's own: the answer is the same."""

from dataclasses import replace

import pytest
from support.random_batches import answer, built, every_spec, random_batch

from .test_invariance import check

GEOMETRY = ("points", "strides", "priors")


@pytest.mark.parametrize("spec", every_spec())
def test_geometry_of_every_image_equals_that_of_all(spec):
    assigner = built(spec)
    predictions, targets = random_batch(assigner, 3, (4, 2))
    shared = {name: getattr(predictions, name) for name in GEOMETRY if getattr(predictions, name) is not None}
    own = replace(predictions, **{name: value.expand(2, *value.shape) for name, value in shared.items()})
    check(answer(assigner, own, targets), answer(assigner, predictions, targets))

"""Every registered part keeps every law."""

from functools import partial

import pytest
from support.random_batches import built, every_spec

from detassign.assigners.laws import LAWS
from detassign.assigners.laws.check import KINDS

SLOW = {"crowds_are_no_trouble", "odd_objects_are_defined", "odd_predicted_boxes_are_defined"}  # many batches per seed
ALONE = [spec for registry, around in KINDS for spec in map(around, registry) if not isinstance(spec, str)]


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("spec", every_spec())
def test_every_assigner_keeps_the_law(spec, name):
    LAWS[name].check(partial(built, spec), range(2 if name in SLOW else 5))


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("spec", ALONE, ids=str)
def test_every_cost_quality_soft_target_and_box_loss_keeps_the_law(spec, name):
    LAWS[name].check(partial(built, spec), range(2))


@pytest.mark.parametrize("name", LAWS)
def test_a_law_says_what_it_claims(name):
    claim = LAWS[name].claim
    assert claim.endswith(".")
    assert claim[0].isupper() or claim.startswith("float")
    assert len(claim) < 130

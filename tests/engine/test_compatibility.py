"""What goes with what is what building a head says."""

from itertools import product

import pytest

from detassign.assigners import MATCHINGS, SCORES, WEIGHTINGS, Assigner
from detassign.engine.compatibility import (
    PLACES,
    Pair,
    grid,
    matchings_on_places,
    matchings_with_weightings,
    weightings_under_scores,
)
from detassign.heads import DenseHead, QueryHead

HEADS = {
    "FCOS-like": lambda spec: DenseHead(2, 8, spec, feat_channels=8, stacked_convs=0),
    "query decoder": lambda spec: QueryHead(2, spec, channels=8, layers=1),
    "encoder proposals": lambda spec: QueryHead(2, {"type": "hungarian", "encoder": spec}, channels=8, layers=1),
}


@pytest.mark.parametrize(
    ("pairs", "names"),
    [
        (matchings_on_places, (MATCHINGS, PLACES)),
        (weightings_under_scores, (WEIGHTINGS, SCORES)),
        (matchings_with_weightings, (MATCHINGS, WEIGHTINGS)),
    ],
)
def test_every_pair_is_there_once_and_a_refused_one_says_what_works(pairs, names):
    told = pairs()
    assert [(pair.first, pair.second) for pair in told] == list(product(*names))
    works = {pair.first: set() for pair in told}
    for pair in told:
        works[pair.first] |= {pair.second} if pair.reason is None else set()
    assert all(set(pair.instead) == (works[pair.first] if pair.reason else set()) for pair in told)


@pytest.mark.parametrize("place", PLACES)
def test_a_head_takes_every_matching_that_it_is_said_to_take(place):
    served = {pair.first for pair in matchings_on_places() if pair.second == place and pair.reason is None}
    taken = set()
    for matching in MATCHINGS:
        for weighting in ("focal", "dual"):
            try:
                HEADS[place](f"{matching}+{weighting}")
            except ValueError:
                continue
            taken.add(matching)
    assert taken <= served
    assert "hungarian" in served


def test_a_weighting_is_refused_under_a_score_model_for_the_reason_that_an_assigner_gives():
    pair = grid(weightings_under_scores())["cross_entropy"]["sigmoid"]
    with pytest.raises(ValueError, match="defined for the score model Softmax") as refused:
        Assigner("center_prior", "cross_entropy", "sigmoid", num_classes=1)
    assert pair == Pair("cross_entropy", "sigmoid", str(refused.value), ("softmax",))

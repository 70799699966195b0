"""The compatibility matrix says what building a head says."""

import pytest

from detassign.assigners import MATCHINGS, SCORES, WEIGHTINGS, Assigner
from detassign.engine.compatibility import AXES, HEADS, Combination, compatibility, refusals
from detassign.heads import DenseHead, QueryHead


@pytest.fixture(scope="module")
def combinations():
    return compatibility()


def test_every_combination_is_there_once(combinations):
    keys = {(c.head, c.matching, c.weighting, c.score) for c in combinations}
    assert len(keys) == len(combinations) == len(HEADS) * len(MATCHINGS) * len(WEIGHTINGS) * len(SCORES)


def refusal_of_head(combination, branch):
    """Why a real dense head does not take an assigner of these parts, or None."""
    try:
        assigner = Assigner(combination.matching, combination.weighting, combination.score, num_classes=2)
        DenseHead(2, 8, assigner, feat_channels=8, stacked_convs=0, branch=branch)
    except ValueError as error:
        return str(error)
    return None


@pytest.mark.parametrize("head", [head for head in HEADS if head.startswith("dense")])
def test_a_dense_head_refuses_what_the_matrix_says_for_the_same_reason(head, combinations):
    options = {"dense": "auto", "dense, branch=None": None}
    branch = options.get(head, head.rpartition("=")[2])
    for combination in combinations:
        if combination.head != head or combination.matching != "atss":
            continue
        assert combination.reason == refusal_of_head(combination, branch)


def refusal_of_query_head(combination):
    """Why a real query head does not take an assigner of these parts, or None."""
    try:
        assigner = Assigner(combination.matching, combination.weighting, combination.score, num_classes=2)
        QueryHead(2, assigner, channels=8, layers=1)
    except ValueError as error:
        return str(error)
    return None


def test_a_query_head_refuses_what_the_matrix_says_for_the_same_reason(combinations):
    for combination in (c for c in combinations if c.head == "query" and c.matching in ("atss", "hungarian")):
        assert combination.reason == refusal_of_query_head(combination)


def test_some_work_and_some_are_refused(combinations):
    assert {combination.reason is None for combination in combinations} == {True, False}


def test_refusals_cover_exactly_the_refused_combinations(combinations):
    covered = [
        (refusal.head, matching, weighting, score, refusal.reason)
        for refusal in refusals(combinations)
        for matching in refusal.matching
        for weighting in refusal.weighting
        for score in refusal.score
    ]
    wanted = [(c.head, c.matching, c.weighting, c.score, c.reason) for c in combinations if c.reason]
    assert sorted(covered) == sorted(wanted)


def test_refusals_for_one_reason_are_told_once_for_all_weightings_alike(combinations):
    told = refusals(combinations)
    assert len({(refusal.head, refusal.reason, refusal.matching, refusal.score) for refusal in told}) == len(told)


def test_refusals_that_are_no_product_of_names_are_told_singly():
    diagonal = [Combination("h", name, name, "s", "no") for name in ("a", "b")]
    assert [(r.matching, r.weighting) for r in refusals(diagonal)] == [(("a",), ("a",)), (("b",), ("b",))]


def test_axes_are_the_parts_of_a_combination():
    assert all(hasattr(Combination("h", "m", "w", "s", None), axis) for axis in AXES)

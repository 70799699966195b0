from dataclasses import replace

import pytest
import torch
from support.random_batches import random_batch
from support.small import pairs, waits

from detassign.assigners import Hungarian, Matches, Merged, Predictions, Thresholded, build
from detassign.assigners.matching.merged import merged

NOTHING = Predictions(torch.zeros(1, 5, 3), torch.zeros(1, 5, 4))


def matches(*triples, **parts):
    """Pairs of one image from sample, target and score each."""
    sample, target, score = torch.tensor(triples, dtype=torch.float32).reshape(-1, 3).unbind(1)
    return Matches(torch.zeros(len(sample), dtype=torch.long), sample.long(), target.long(), score, **parts)


def test_the_second_gives_objects_to_the_samples_that_the_first_leaves():
    both = merged(matches((0, 0, 0.5), (2, 0, 0.25)), matches((2, 1, 1), (3, 1, 1), (4, 0, 1)), NOTHING)
    assert pairs(both) == {(0, 0, 0), (0, 2, 0), (0, 3, 1), (0, 4, 0)}
    assert both.score.tolist() == [0.5, 0.25, 1, 1]


def test_each_pair_learns_its_class_and_its_box():
    first = replace(matches((0, 0, 0.5)), of_boxes=matches((0, 0, 0.5), (0, 1, 0.4)))
    assert merged(first, matches((1, 1, 1)), NOTHING).of_boxes is None


def test_a_sample_that_gets_an_object_is_not_ignored():
    ignored = torch.tensor([[False, True, True, False, False]])
    both = merged(matches((0, 0, 1), ignored=ignored), matches((1, 1, 1)), NOTHING)
    assert both.ignored.tolist() == [[False, False, True, False, False]]


def test_every_object_is_served_where_the_second_is_one_to_one():
    predictions, targets = random_batch(build("fcos", 3), seed=3, counts=(5, 3))
    matching = Merged(Thresholded(limit=1))
    got = matching(predictions, targets)
    assert pairs(Thresholded(limit=1)(predictions, targets)) < pairs(got)
    taken = {(i, s) for i, s, _ in pairs(got)}
    assert taken >= {(i, s) for i, s, _ in pairs(Hungarian()(predictions, targets))}
    assert len(taken) == len(got.image)


def test_it_is_one_to_many_and_needs_what_both_need():
    matching = Merged("thresholded(class_weight=0.3)", "hungarian", score="sigmoid_objectness")
    assert matching.cardinality == "one-to-many"
    assert matching.needs == {"objectness"}


def test_it_waits_for_both_and_once_more():
    predictions, targets = random_batch(build("fcos", 3), counts=(4, 2))
    assert waits(Merged(), predictions, targets) <= Merged().waits == Hungarian().waits + 3 + 1


@pytest.mark.parametrize("part", ["matching", "other"])
def test_unknown_parts_are_refused_by_name(part):
    with pytest.raises(ValueError, match="unknown matching 'nobody'"):
        Merged(**{part: "nobody"})

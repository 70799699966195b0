from dataclasses import replace

import pytest
import torch
from support.random_batches import random_targets
from support.small import pairs, waits

from detassign.assigners import Hungarian, Matches, Predictions, Union
from detassign.assigners.matching.union import united


class These:
    """A matching of given (layer, sample, target) in the one image of a batch."""

    cardinality = "one-to-one"
    needs = frozenset()
    waits = 0

    def __init__(self, *triples):
        self.triples = triples

    def __call__(self, predictions, targets):
        image, sample, target = torch.tensor(self.triples, dtype=torch.long).reshape(-1, 3).unbind(1)
        return Matches(image, sample, target, torch.ones(len(image)))


def layers(count, final=None, images=1, samples=5):
    logits, boxes = torch.zeros(count * images, samples, 3), torch.rand(count * images, samples, 4)
    return Predictions(logits, boxes, groups=count, final=final)


def boxes_of(matching, predictions, objects=3):
    """The pairs (sample, target) whose boxes the first layer learns; those of all layers are the same."""
    images = len(predictions.logits) // predictions.groups
    targets = random_targets(0, (objects,) * images, spare=0).repeat(predictions.groups)
    found = pairs(Union(matching)(predictions, targets).of_boxes)
    first = {each for each in found if each[0] < images}
    assert found == {(i + layer * images, s, t) for i, s, t in first for layer in range(predictions.groups)}
    return {each[1:] for each in first}


def test_boxes_learn_the_pairs_of_all_layers():
    matching = These((0, 0, 0), (0, 1, 1), (1, 2, 0), (1, 1, 1), (2, 0, 0))
    assert boxes_of(matching, layers(3)) == {(0, 0), (1, 1), (2, 0)}


def test_classes_learn_the_pairs_of_their_layer():
    targets = random_targets(0, (3, 2)).repeat(3)
    predictions = replace(layers(3, images=2), boxes=targets.boxes[:, :1].expand(-1, 5, 4) + torch.rand(6, 5, 4))
    union = Union()
    assert pairs(union(predictions, targets)) == pairs(Hungarian()(predictions, targets))
    assert union.cardinality == "one-to-one"


def test_a_sample_keeps_the_object_that_most_layers_give_it():
    matching = These((0, 0, 2), (1, 0, 0), (2, 0, 2), (3, 0, 1), (4, 0, 1), (5, 0, 2))
    assert boxes_of(matching, layers(6)) == {(0, 2)}


@pytest.mark.parametrize(("final", "target"), [(None, 1), (2, 1), (1, 0), (0, 2)])
def test_of_equally_many_the_final_layer_decides_then_those_before_it(final, target):
    """The last group is the encoder's, behind the final layer, where it is not the final layer itself."""
    assert boxes_of(These((0, 0, 2), (1, 0, 0), (2, 0, 1)), layers(3, final)) == {(0, target)}


def test_the_order_of_objects_settles_no_tie():
    for order in ([0, 1, 2], [2, 0, 1], [1, 2, 0]):
        matching = These((0, 0, order[0]), (1, 0, order[1]), (2, 0, order[2]))
        assert boxes_of(matching, layers(3)) == {(0, order[2])}


def test_the_score_is_the_share_of_layers():
    matching, targets = These((0, 0, 0), (1, 0, 0), (2, 1, 0), (3, 1, 1)), random_targets(0, (2,), spare=0).repeat(4)
    got = united(matching(None, None), layers(4), targets)
    assert dict(zip(got.sample.tolist(), got.score.tolist(), strict=True)) == {0: 0.5, 1: 0.25}


@pytest.mark.parametrize("groups", [None, 1])
def test_a_layer_alone_has_the_pairs_of_the_matching(groups):
    targets = random_targets(0, (3,))
    predictions = Predictions(torch.zeros(1, 5, 3), torch.rand(1, 5, 4), groups=groups)
    assert Union()(predictions, targets).of_boxes is None


def test_images_without_objects_have_no_pairs():
    assert boxes_of(These(), layers(3), objects=0) == set()


def test_it_waits_once_more_than_the_matching():
    targets = random_targets(0, (3,)).repeat(3)
    assert waits(Union(), layers(3), targets) <= Union().waits

from dataclasses import replace

import pytest
import torch
from support.random_batches import CLASSES, answer, random_batch, random_boxes
from support.small import one_image, pairs, pyramid, samples_of, waits

from detassign.assigners import Assigner, Hungarian, OnPriors, Thresholded, Union, build, focal
from detassign.assigners.boxes import squares


def test_the_matching_sees_the_priors_in_the_place_of_predictions():
    predictions, targets = pyramid((2, 2, 8)), one_image((0, 0, 8, 8, 0))
    priors = predictions.boxes[0].flip(0)  # the last sample starts where the first one is
    assert samples_of(Hungarian()(predictions, targets)) == [0]
    assert samples_of(OnPriors(Hungarian())(replace(predictions, priors=priors), targets)) == [3]
    own = priors[None].clone()
    assert samples_of(OnPriors(Hungarian())(replace(predictions, priors=own), targets)) == [3]


def test_without_priors_they_are_squares_of_some_strides():
    predictions, targets = pyramid((3, 3, 8)), one_image((4, 4, 20, 20, 0))
    drawn = replace(predictions, boxes=squares(predictions.points, 2 * predictions.strides)[None])
    scores = [m.scores(p, targets) for m, p in ((Thresholded(), drawn), (Thresholded(), predictions))]
    assert not torch.equal(*scores)
    wanted = pairs(Thresholded()(drawn, targets))
    assert pairs(OnPriors(Thresholded(), prior_scale=2)(predictions, targets)) == wanted


def test_losses_are_still_of_the_predicted_boxes():
    assigner = Assigner(OnPriors(), focal())
    predictions, targets = random_batch(assigner)
    moved = replace(predictions, boxes=predictions.boxes + 3)
    first, second = (answer(assigner, each, targets) for each in (predictions, moved))
    assert torch.equal(first[0], second[0])
    assert not torch.equal(first[2], second[2])


def layered(layers=3, images=2):
    """Layers whose priors differ, as those of a decoder that refines boxes do, and targets."""
    _, targets = random_batch(build("fcos", CLASSES), counts=(4, 2))
    generator = torch.Generator().manual_seed(1)
    boxes, priors = random_boxes(generator, layers * images, 20), random_boxes(generator, layers * images, 20)
    geometry = {"points": priors[..., :2], "strides": torch.ones(layers * images, 20), "priors": priors}
    predictions = replace(pyramid((4, 5, 8), images=layers * images), boxes=boxes, groups=layers, **geometry)
    return predictions, targets.repeat(layers)


def test_once_gives_all_layers_the_pairs_of_the_first():
    predictions, targets = layered()
    each, once = (OnPriors(once=once)(predictions, targets) for once in (False, True))
    first = {pair for pair in pairs(each) if pair[0] < 2}
    assert pairs(once) == {(i + 2 * layer, s, t) for i, s, t in first for layer in range(3)}
    assert pairs(once) != pairs(each)


def test_once_asks_for_the_first_layer_alone():
    predictions, targets = layered()
    seen = []

    def matching(predictions, targets):
        seen.append((len(predictions.logits), len(targets.mask), predictions.groups))
        return Thresholded()(predictions, targets)

    OnPriors(matching, once=True)(predictions, targets)
    assert seen == [(2, 2, None)]


def test_it_says_of_itself_what_the_matching_says():
    matching = OnPriors(Hungarian())
    assert (matching.cardinality, matching.across_layers) == ("one-to-one", False)
    assert matching.needs == {"points", "strides"}
    assert matching.waits == Hungarian().waits
    assert OnPriors(once=True).across_layers
    assert OnPriors(Union()).across_layers
    assert OnPriors(Thresholded(class_weight=0.3)).moves_others


@pytest.mark.parametrize("once", [False, True])
def test_it_waits_as_often_as_the_matching(once):
    assert waits(OnPriors(once=once), *layered()) <= OnPriors().waits

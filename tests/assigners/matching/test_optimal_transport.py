from dataclasses import replace

import pytest
import torch
from support.small import one_image, pairs, pyramid, samples_of, waits

from detassign.assigners import MATCHINGS, OptimalTransport, Targets, build
from detassign.assigners.laws.batches import random_batch


def row(*spans, likely=(), classes=3):
    """Points at 4, 12, 20, … of one row at stride 8 that predict boxes of the given x1, x2; some sure of class 0."""
    spans = torch.tensor(spans, dtype=torch.float32)
    boxes = torch.stack([spans[:, 0], torch.zeros(len(spans)), spans[:, 1], torch.full((len(spans),), 8.0)], -1)
    logits = torch.full((1, len(spans), classes), -4.0)
    logits[0, list(likely), 0] = 2.0
    return pyramid((1, len(spans), 8), classes=classes, boxes=boxes[None], logits=logits, objectness=None)


def test_an_object_supplies_the_whole_part_of_the_sum_of_its_candidates_ious():
    predictions = row((0, 24), (0, 24), (0, 12), (0, 24))  # the fourth point lies outside the box
    _, cost, _, supply, late = OptimalTransport().problem(predictions, one_image((0, 0, 24, 8, 0)))
    assert supply.tolist() == [[2]]
    assert len(cost) == 3
    assert late is None
    assert OptimalTransport(top=1).problem(predictions, one_image((0, 0, 24, 8, 0)))[3].tolist() == [[1]]


def test_candidates_lie_in_the_box_and_in_the_square_about_its_centre():
    predictions = row(*[(0, 80)] * 10)
    image = one_image((0, 0, 80, 8, 0))
    assert OptimalTransport().problem(predictions, image)[0].sample.tolist() == [3, 4, 5, 6]
    assert OptimalTransport(radius=9.0).problem(predictions, image)[0].sample.tolist() == list(range(10))


def test_samples_go_to_the_object_that_they_fit():
    predictions = row((0, 24), (0, 24), (0, 24), (24, 48), (24, 48), (24, 48), likely=range(6))
    targets = one_image((0, 0, 24, 8, 0), (24, 0, 48, 8, 0))
    matches = OptimalTransport()(predictions, targets)
    assert samples_of(matches, 0) == [0, 1, 2]
    assert samples_of(matches, 1) == [3, 4, 5]
    assert matches.score.tolist() == [1.0] * 6


def test_every_sample_has_one_object_at_most():
    assigner = build("ota", 3)
    matches = assigner.match(*random_batch(assigner, 0, (30, 20)))
    slot = matches.image * 80 + matches.sample
    assert len(slot.unique()) == len(slot) > 20


def test_an_object_without_candidates_gets_the_cheapest_free_sample_or_none():
    predictions = row((0, 16), (0, 16), (7.5, 8.5), likely=(0, 1, 2))
    between = one_image((0, 0, 16, 8, 0), (7.5, 3, 8.5, 5, 0))
    assert samples_of(OptimalTransport()(predictions, between), 1) == [2]
    assert samples_of(OptimalTransport(without_candidates="none")(predictions, between), 1) == []
    taken = replace(predictions, boxes=predictions.boxes[:, [2, 0, 2]])  # the first would fit better and is the other's
    others = samples_of(OptimalTransport(without_candidates="none")(taken, between), 0)
    assert set(samples_of(OptimalTransport()(taken, between), 1)).isdisjoint(others)


def test_in_the_transport_such_an_object_has_every_sample():
    predictions = row((0, 16), (0, 16), (7.5, 8.5), likely=(0, 1, 2))
    between = one_image((0, 0, 16, 8, 0), (7.5, 3, 8.5, 5, 0))
    matching = OptimalTransport(without_candidates="transport")
    found, _, _, supply, late = matching.problem(predictions, between)
    assert found.sample[found.target == 1].tolist() == [0, 1, 2]
    assert (supply[0, 1].item(), late.tolist()) == (1, [[False, True]])
    assert samples_of(matching(predictions, between), 1) == [2]


def test_what_is_not_a_number_wins_nothing():
    targets, sound = one_image((0, 0, 24, 8, 0)), row((0, 24), (0, 24), (0, 24), likely=(0, 1, 2))
    boxes, logits = sound.boxes.clone(), sound.logits.clone()
    boxes[0, 0, 2], logits[0, 1, 1] = torch.nan, torch.nan
    assert samples_of(OptimalTransport()(replace(sound, boxes=boxes, logits=logits), targets)) == [2]
    for broken in ({"boxes": torch.full_like(boxes, torch.nan)}, {"logits": torch.full_like(logits, torch.nan)}):
        assert not pairs(OptimalTransport()(replace(sound, **broken), targets))
    infinite = replace(sound, logits=torch.full_like(logits, torch.inf))
    assert OptimalTransport()(infinite, targets).score.isfinite().all()


def test_an_object_without_candidates_makes_the_host_wait_once_more():
    predictions, one, two = row((0, 16), (0, 16), (7.5, 8.5)), (0, 0, 16, 8, 0), (7.5, 3, 8.5, 5, 0)
    assert waits(OptimalTransport(), predictions, one_image(one)) == 3
    assert waits(OptimalTransport(), predictions, one_image(one, two)) == 4


def test_nothing_to_match_is_no_trouble():
    predictions = row((0, 16), (0, 16))
    assert not pairs(OptimalTransport()(predictions, one_image()))
    outside = one_image((900, 900, 940, 940, 0))
    assert len(pairs(OptimalTransport()(predictions, outside))) == 1
    assert not pairs(OptimalTransport(without_candidates="none")(predictions, outside))


def test_five_thousand_objects_on_a_small_map_are_no_trouble():
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(1, 5000, 2, generator=generator) * 64
    boxes = torch.cat([corner, corner + 1 + torch.rand(1, 5000, 2, generator=generator) * 20], -1)
    targets = Targets(boxes, torch.zeros(1, 5000, dtype=torch.long), torch.ones(1, 5000, dtype=torch.bool))
    matches = OptimalTransport()(pyramid((8, 8, 8), (4, 4, 16), objectness=None), targets)
    assert matches.sample.unique().numel() == len(matches.sample) > 60


def test_ota_has_its_published_constants():
    assigner = build("ota", 2)
    matching = assigner.matching
    assert (matching.radius, matching.margin, matching.top, matching.eps, matching.iterations) == (
        2.5,
        0.01,
        20,
        0.1,
        50,
    )
    assert {name: term.weight for name, term in matching.costs.items()} == {"focal_loss": 1, "iou_log": 1.5}
    assert (assigner.weighting.box_scale, assigner.branch.name, assigner.branch.weight) == (2.0, "iou", 0.5)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"top": 0}, "top: expected a whole number of at least 1, got 0"),
        ({"iterations": 0}, "iterations: expected a whole number of at least 1, got 0"),
        ({"radius": -1}, "radius: expected a number of at least 0, got -1"),
        ({"eps": 0}, "eps: expected a number above 0, got 0"),
        ({"without_candidates": "any"}, "without_candidates: expected one of cheapest, none, transport, got 'any'"),
    ],
)
def test_a_mistake_is_answered_in_one_sentence(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        MATCHINGS.build({"type": "ota", **arguments})

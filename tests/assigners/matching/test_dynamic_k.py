import math
from dataclasses import replace

import pytest
import torch
from support.small import one_image, pairs, pyramid, samples_of, waits

from detassign.assigners import MATCHINGS, Assigner, DynamicK, Targets, build, focal
from detassign.assigners.matching import dynamic_k

IOU = {"iou_log": 1.0}  # costs of IoU 1, 1/2 and 0: 0, 0.69 and 18.4


def row(*spans, classes=3, **parts):
    """Points at 4, 12, 20, … of one row at stride 8 that predict boxes of the given x1, x2 from y 0 to 8."""
    spans = torch.tensor(spans, dtype=torch.float32)
    boxes = torch.stack([spans[:, 0], torch.zeros(len(spans)), spans[:, 1], torch.full((len(spans),), 8.0)], -1)
    given = {"boxes": boxes[None], "objectness": None}
    return pyramid((1, len(spans), 8), classes=classes, **{**given, **parts})


def test_k_is_the_whole_part_of_the_sum_of_the_largest_ious_and_at_least_one():
    target = one_image((0, 0, 16, 8, 0))
    predictions = row((0, 16), (0, 16), (0, 8), (0, 7), (0, 7))  # IoUs 1, 1, .5, .44, .44
    assert samples_of(DynamicK(IOU)(predictions, target)) == [0, 1, 2]
    assert samples_of(DynamicK(IOU, top=2)(predictions, target)) == [0, 1]
    assert samples_of(DynamicK(IOU)(row((0, 8), (40, 48)), target)) == [0]
    assert samples_of(DynamicK(IOU, k=2)(row((0, 8), (0, 4), (40, 48)), target)) == [0, 1]


def test_more_samples_than_there_are_cannot_be_asked_for():
    assert samples_of(DynamicK(IOU, k=9)(row((0, 8), (40, 48)), one_image((0, 0, 16, 8, 0)))) == [0, 1]


def test_samples_outside_the_own_region_are_taken_when_those_inside_do_not_suffice():
    predictions = row((0, 16), (0, 8), (0, 16))  # the third point lies outside
    target, inside = one_image((0, 0, 16, 8, 0)), {"inside": True}
    assert samples_of(DynamicK(IOU, k=2)(predictions, target)) == [0, 2]
    assert samples_of(DynamicK(IOU, own=inside, penalty=1e6, k=2)(predictions, target)) == [0, 1]
    assert samples_of(DynamicK(IOU, own=inside, penalty=1e6, k=3)(predictions, target)) == [0, 1, 2]
    assert samples_of(DynamicK(IOU, own=inside, penalty=math.inf, k=3)(predictions, target)) == [0, 1]


def test_samples_outside_keep_their_order_that_float32_would_lose():
    """1e5 + 57.2 and 1e5 + 57.2001 are one number in float32."""
    logits = torch.zeros(1, 3, 3)
    logits[0, 2, 0] = 1e-4
    predictions = row((80, 88), (80, 88), (80, 88), logits=logits)
    matching = MATCHINGS.build("simota_v1")
    far = one_image((0, 0, 0.5, 8, 0), (16, 0, 24, 8, 1))
    cost = matching._key(predictions_of(predictions), far, torch.zeros(1, 3, 2), torch.zeros(1, 3))
    assert cost[0, 0, 1] > cost[0, 0, 2]
    assert cost[0, 0, 1].float() == cost[0, 0, 2].float()


def predictions_of(predictions):
    return replace(predictions, valid=torch.ones(predictions.logits.shape[:2], dtype=torch.bool))


def test_the_ious_that_make_k_are_with_all_samples_that_any_target_looks_at():
    predictions = row((0, 12), (0, 16), (0, 8), (0, 16), (40, 48))
    target, candidates = (0, 0, 8, 8, 0), {"inside": True}  # the box holds the first point; IoUs 2/3, 1/2, 1, 1/2, 0
    assert samples_of(DynamicK(IOU, candidates)(predictions, one_image(target))) == [0]
    beside = one_image(target, (8, 0, 32, 8, 0))
    counts = DynamicK(IOU, candidates)(predictions, beside)
    assert samples_of(counts, target=0) == [0, 2]


def test_of_all_targets_or_of_those_that_took_it():
    """The first sample is taken by the first two; the third box fits it better, and takes the second."""
    predictions = row((0, 12), (0, 10.2))
    targets = one_image((0, 0, 20, 8, 0), (0, 0, 18, 8, 0), (0, 0, 11, 8, 0))
    assert 12 / 20 < 12 / 18 < 11 / 12 < 10.2 / 11
    assert pairs(DynamicK(IOU, k=1, conflict="all")(predictions, targets)) == {(0, 0, 2), (0, 1, 2)}
    assert pairs(DynamicK(IOU, k=1, conflict="holders")(predictions, targets)) == {(0, 0, 1), (0, 1, 2)}


@pytest.mark.parametrize("conflict", ["all", "holders"])
def test_equal_costs_go_to_the_nearer_centre_whatever_the_order(conflict):
    predictions = row((80, 88), (80, 88))  # meets no target: all pairs cost the same
    targets = one_image((0, 0, 30, 8, 0), (0, 0, 8, 8, 0))
    matching = DynamicK(IOU, k=2, conflict=conflict)
    assert pairs(matching(predictions, targets)) == {(0, 0, 1), (0, 1, 0)}
    swapped = Targets(targets.boxes.flip(1), targets.labels, targets.mask)
    assert pairs(matching(predictions, swapped)) == {(0, 0, 0), (0, 1, 1)}


def test_a_target_may_end_without_a_sample():
    predictions = row((0, 16))
    targets = one_image((0, 0, 15, 8, 0), (0, 0, 14, 8, 0))
    assert pairs(DynamicK(IOU)(predictions, targets)) == {(0, 0, 0)}


@pytest.mark.parametrize("name", ["simota", "simota_v1", "dynamic_soft_label", "lla"])
def test_what_is_not_a_number_wins_nothing(name):
    matching, targets = MATCHINGS.build(name), one_image((0, 0, 16, 8, 0))
    sound = row((0, 16), (0, 16), (0, 12))
    boxes, logits = sound.boxes.clone(), sound.logits.clone()
    boxes[0, 0, 2], logits[0, 1] = torch.nan, torch.nan
    assert samples_of(matching(replace(sound, boxes=boxes, logits=logits), targets)) in ([2], [])
    assert not pairs(matching(replace(sound, boxes=torch.full_like(boxes, torch.nan)), targets))
    assert not pairs(matching(replace(sound, logits=torch.full_like(logits, torch.nan)), targets))


@pytest.mark.parametrize("name", ["simota", "simota_v1", "dynamic_soft_label", "lla"])
def test_without_targets_or_candidates_there_are_no_pairs(name):
    matching, predictions = MATCHINGS.build(name), row((0, 16), (0, 16))
    assert not pairs(matching(predictions, one_image()))
    off_the_map = pairs(matching(predictions, one_image((900, 900, 940, 940, 0))))
    assert len(off_the_map) == (2 if name == "lla" else 0)  # looks at every sample, wherever it is


@pytest.mark.parametrize("name", ["simota", "simota_v1", "dynamic_soft_label", "lla"])
def test_the_pairs_do_not_depend_on_how_many_are_compared_at_a_time(name, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(2, 40, 2, generator=generator) * 100
    targets = torch.cat([corner, corner + 4 + torch.rand(2, 40, 2, generator=generator) * 60], -1)
    targets = Targets(
        targets, torch.randint(3, (2, 40), generator=generator), torch.rand(2, 40, generator=generator) < 0.9
    )
    points = pyramid((16, 20, 8), (8, 10, 16), images=2)
    near = targets.boxes[:, torch.randint(40, (400,), generator=generator)]
    predictions = replace(
        points,
        boxes=near + 4 * torch.randn(near.shape, generator=generator),
        logits=torch.randn(points.logits.shape, generator=generator),
    )
    whole = pairs(MATCHINGS.build(name)(predictions, targets))
    monkeypatch.setattr(dynamic_k, "PAIRS_IN_CACHE", 900)
    assert pairs(MATCHINGS.build(name)(predictions, targets)) == whole
    assert len(whole) > 80


def test_five_thousand_targets_are_no_trouble():
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(1, 5000, 2, generator=generator) * 64
    boxes = torch.cat([corner, corner + 1 + torch.rand(1, 5000, 2, generator=generator) * 20], -1)
    targets = Targets(boxes, torch.zeros(1, 5000, dtype=torch.long), torch.ones(1, 5000, dtype=torch.bool))
    predictions = pyramid((8, 8, 8), (4, 4, 16))
    for name in ("simota", "simota_v1", "dynamic_soft_label", "lla"):
        matches = MATCHINGS.build(name)(predictions, targets)
        assert 0 < len(matches.image) <= predictions.logits.shape[1]
        assert matches.sample.unique().numel() == len(matches.sample)


@pytest.mark.parametrize("conflict", ["all", "holders"])
@pytest.mark.parametrize("ignore", ["overlap", "compete"])
@pytest.mark.parametrize(("candidates", "count"), [(None, 2), ({"radius": 2.5}, 3)])
def test_the_host_waits_for_the_samples_looked_at_those_contested_and_the_pairs(conflict, ignore, candidates, count):
    box = torch.tensor([[0.0, 0.0, 32.0, 32.0]])
    targets = Targets.from_lists([box.repeat(3, 1)], [torch.zeros(3, dtype=torch.long)], [box])
    matching = DynamicK(candidates=candidates, conflict=conflict, ignore=ignore)
    assert waits(matching, pyramid((8, 8, 8)), targets) == count


def test_ignore_regions_compete_for_samples_or_only_cover_them():
    predictions = row((0, 16), (8, 24), (40, 48))
    targets = one_image((0, 0, 16, 8, 0), ignore=[[8, 0, 24, 8]])
    rivals = MATCHINGS.build({"type": "lla", "k": 1})(predictions, targets)
    assert pairs(rivals) == {(0, 0, 0)}
    assert rivals.ignored.tolist() == [[False, True, False]]
    covered = MATCHINGS.build({"type": "lla", "k": 1, "ignore": "overlap"})(predictions, targets)
    assert covered.ignored.tolist() == [[False, True, True]]  # whose cells lie in the region


def test_simota_asks_for_the_geometric_mean_of_class_and_objectness():
    logits = torch.tensor([0.0, -9.0, -9.0]).expand(1, 3, 3)
    predictions = row((0, 24), (0, 24), (0, 24), logits=logits, objectness=torch.tensor([[-4.0, 4.0, 0.0]]))
    target = one_image((0, 0, 24, 8, 0))
    assert samples_of(MATCHINGS.build({"type": "simota", "top": 1})(predictions, target)) == [1]
    joint = Assigner({"type": "simota", "top": 1}, focal(), "sigmoid_objectness")
    assert samples_of(joint.match(predictions, target)) == [1]


def test_class_costs_follow_the_score_model():
    logits = torch.zeros(1, 2, 4)
    logits[0, 0, 3] = 5.0  # the background of a softmax
    predictions = row((0, 16), (0, 16), logits=logits)
    target = one_image((0, 0, 16, 8, 0))
    softmax = Assigner({"type": "lla", "k": 1}, focal(), "softmax")
    assert samples_of(softmax.match(predictions, target)) == [1]


def test_the_published_choices_have_their_constants():
    simota, first = build("simota", 2).matching, build("simota_v1", 2).matching
    assert (simota.candidates.radius, simota.own.radius, simota.penalty, simota.top) == (1.5, 1.5, 1e6, 10)
    assert (simota.candidates.inside, first.candidates.either, first.own.either) == (False, True, False)
    assert (first.candidates.radius, first.own.radius, first.penalty, first.top) == (2.5, 2.5, 1e5, 10)
    soft, lla = build("rtmdet", 2).matching, build("lla", 2).matching
    assert (soft.candidates.radius, soft.own, soft.top, soft.k) == (None, None, 13, None)
    assert (lla.candidates, lla.own.margin, lla.penalty, lla.k) == (None, 0.01, 1e3, 10)
    assert {name: term.weight for name, term in soft.costs.items()} == {
        "soft_label": 1,
        "iou_log": 3,
        "center_distance": 1,
    }


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"k": 0}, "k: expected a whole number of at least 1, got 0"),
        ({"top": 0}, "top: expected a whole number of at least 1, got 0"),
        ({"penalty": -1}, "penalty: expected a number of at least 0, got -1"),
        ({"conflict": "first"}, "conflict: expected one of all, holders, got 'first'"),
        ({"ignore": "no"}, "ignore: expected one of overlap, compete, got 'no'"),
    ],
)
def test_a_mistake_is_answered_in_one_sentence(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        DynamicK(**arguments)

from dataclasses import replace

import pytest
import torch
from support.random_batches import random_targets
from support.small import one_image, pairs, pyramid, samples_of, waits

from detassign.assigners import Noise, Predictions, Thresholded

OBJECT = (0, 0, 10, 10)
NOWHERE = (50, 50, 60, 60)


def shifted(*offsets, start=0):
    """Boxes of 10 x 10 pixels, moved to the right by so many pixels: IoU (10 - x) / (10 + x) with the one at `start`."""
    return [[start + x, 0, start + x + 10, 10] for x in offsets]


def row(*boxes, logits=None):
    """Predictions of these boxes in one image of 64 pixels."""
    boxes = torch.tensor([boxes], dtype=torch.float32)
    return Predictions(torch.zeros(*boxes.shape[:2], 3) if logits is None else logits, boxes)


def of(matching, predictions, *boxes_and_labels):
    """The samples of every object."""
    matches = matching(predictions, one_image(*boxes_and_labels))
    return [samples_of(matches, target) for target in range(len(boxes_and_labels))]


FAR_FROM_EACH_OTHER = shifted(0, 1, 2, 3, 5, start=0) + shifted(0, 1, 4, start=30) + [list(NOWHERE)] * 8


def test_an_object_gets_as_many_samples_as_like_it_best_and_are_good_enough():
    """IoUs are 1, .82, .67, .54, .33 with the one and 1, .82, .43 with the other."""
    predictions = row(*FAR_FROM_EACH_OTHER)
    objects = (*OBJECT, 0), (30, 0, 40, 10, 1)
    assert of(Thresholded(limit=None), predictions, *objects) == [[0, 1, 2], [5, 6]]
    assert of(Thresholded(threshold=0.3, limit=None), predictions, *objects) == [[0, 1, 2, 3], [5, 6, 7]]
    assert of(Thresholded(threshold=0.3, limit=None, k=2), predictions, *objects) == [[0, 1], [5, 6]]


def test_below_the_threshold_it_gets_its_best_one():
    assert of(Thresholded(threshold=0.9), row(*shifted(1, 2, 3, 5)), (*OBJECT, 0)) == [[0]]


def test_all_that_share_the_best_score_count_or_one():
    predictions = row(*shifted(-2, 2, 3, 4), *[list(NOWHERE)] * 8)
    assert of(Thresholded(threshold=0.9), predictions, (*OBJECT, 0)) == [[0, 1]]
    assert of(Thresholded(threshold=0.9, low_quality="one"), predictions, (*OBJECT, 0)) == [[0]]


def test_the_best_samples_are_of_all_not_of_those_that_were_counted():
    """The second object's best sample likes the first one more, which then has one more, and the second none."""
    predictions = row(*shifted(0, 8), *[list(NOWHERE)] * 8)
    first, second = (*OBJECT, 0), (9, 0, 40, 10, 1)
    matching = Thresholded(threshold=0.9, conflict="all", limit=None)
    assert of(matching, predictions, (0, 0, 12, 10, 0), (9, 0, 40, 10, 1)) == [[0], [1]]
    assert of(matching, row(*shifted(1, 2), list(NOWHERE)), first, second) == [[0, 1], []]


def test_an_object_that_no_sample_touches_has_none_and_in_the_original_makes_all_others_positive():
    predictions, untouched = row(*shifted(0, 3), [30, 0, 40, 10], *[list(NOWHERE)] * 5), (0, 40, 4, 44, 0)
    objects = (*OBJECT, 0), (29, 0, 39, 10, 0), untouched
    assert of(Thresholded(), predictions, *objects) == [[0], [2], []]
    original = Thresholded(minimum=0.0, limit=None, duplicates="first", conflict="all")
    assert len(of(original, predictions, *objects)[0]) == 4


def test_a_score_of_classes_weighs_the_iou_with_p():
    logits = torch.tensor([[[0.0, 0.0, 0.0], [0.0, 9.0, 0.0]]])
    predictions, box = row(*shifted(1, 5), logits=logits), (*OBJECT, 1)
    matching = Thresholded(class_weight=0.3)
    p, u = torch.tensor([0.5, torch.sigmoid(torch.tensor(9.0))]), torch.tensor([9 / 11, 5 / 15])
    torch.testing.assert_close(matching.scores(predictions, one_image(box))[0, 0], 0.7 * u + 0.3 * p)
    assert of(replace_class_weight(0.0), predictions, box) == [[0]]
    assert of(replace_class_weight(0.9), predictions, box) == [[1]]


def replace_class_weight(weight):
    return Thresholded(threshold=1.0, class_weight=weight, low_quality="one")


def test_p_is_that_of_the_score_model():
    predictions = replace(row(*shifted(0)), objectness=torch.tensor([[0.0]]))
    matching = Thresholded(class_weight=1.0, score="sigmoid_objectness")
    assert matching.needs == {"objectness"}
    assert Thresholded(score="sigmoid_objectness").needs == frozenset()
    assert matching.scores(predictions, one_image((*OBJECT, 0)))[0, 0].item() == pytest.approx(0.25)


TWICE = [(*OBJECT, 0), (*OBJECT, 0)]


def test_identical_objects_share_the_samples_that_one_would_have():
    predictions = row(*shifted(0, 1, -1.5, 2), *[list(NOWHERE)] * 8)
    assert of(Thresholded(limit=None), predictions, *TWICE) == [[0, 2], [1, 3]]
    assert of(Thresholded(limit=None), predictions, *TWICE, (*OBJECT, 0)) == [[0, 3], [1], [2]]
    assert of(Thresholded(limit=None, duplicates="first"), predictions, *TWICE) == [[0, 1, 2, 3], []]


def test_each_of_identical_objects_has_one_while_there_are_enough():
    predictions = row(*shifted(0, 5), *[list(NOWHERE)] * 8)
    assert of(Thresholded(), predictions, *TWICE) == [[0], [1]]
    assert of(Thresholded(), row(*shifted(0), *[list(NOWHERE)] * 8), *TWICE) == [[0], []]


def test_objects_of_one_box_and_two_classes_share_where_classes_do_not_count():
    """And their order does not matter."""
    predictions = row(*shifted(0, 1), *[list(NOWHERE)] * 8)
    objects = [(*OBJECT, 2), (*OBJECT, 1)]
    assert of(Thresholded(), predictions, *objects) == [[1], [0]]
    assert of(Thresholded(), predictions, *objects[::-1]) == [[0], [1]]
    logits = torch.zeros(1, 10, 3).index_fill(2, torch.tensor([2]), 5.0)
    by_class = Thresholded(class_weight=0.3, low_quality="one")
    assert of(by_class, replace(predictions, logits=logits), *objects) == [[0, 1], []]


NEAR, FAR = (*OBJECT, 0), (1, 0, 11, 10, 1)


def crossed(conflict, *objects):
    """Pairs of classes and of boxes; 0 and 2 are positive for NEAR, 1 and 3 for FAR, and 0 and 1 are the best of both."""
    matching = Thresholded(threshold=0.3, limit=None, conflict=conflict)
    matches = matching(row(*shifted(0.4, 0.6, -3, 4)), one_image(*objects))
    boxes = matches if matches.of_boxes is None else matches.of_boxes
    return tuple({(sample, objects[target]) for _, sample, target in pairs(found)} for found in (matches, boxes))


@pytest.mark.parametrize("order", [(NEAR, FAR), (FAR, NEAR)])
def test_a_sample_that_two_objects_take_is_of_the_better_one_or_of_all(order):
    every = {(sample, each) for sample in (0, 1) for each in order}
    better, last = {(0, NEAR), (1, FAR)}, {(0, order[1]), (1, order[1])}
    assert crossed("best", *order) == (better, better)
    assert crossed("all", *order) == (every, every)
    assert crossed("class_of_best", *order) == (better, every)
    assert crossed("class_of_last", *order) == (last, every)


def test_the_limit_leaves_every_object_its_best_before_any_gets_a_second():
    predictions = row(*FAR_FROM_EACH_OTHER)
    objects = (*OBJECT, 0), (30, 0, 40, 10, 1)
    predictions.boxes[0, 5] += 0.5  # the other object's best is not quite as good
    for limit, wanted in ((1, [[0], []]), (2, [[0], [5]]), (3, [[0, 1], [5]]), (4, [[0, 1], [5, 6]])):
        assert of(Thresholded(limit=limit), predictions, *objects) == wanted


def test_a_limit_below_one_is_a_share_of_the_valid_samples():
    predictions = row(*shifted(0, 1, 2, 3, 4, 5, 6, 7))
    assert of(Thresholded(threshold=0.0), predictions, (*OBJECT, 0)) == [[0, 1]]
    valid = torch.tensor([[False, True, True, False, True, True, False, False]])
    assert of(Thresholded(threshold=0.0), replace(predictions, valid=valid), (*OBJECT, 0)) == [[1]]
    assert of(Thresholded(threshold=0.0, limit=0.1), predictions, (*OBJECT, 0)) == [[0]]


class Given(Noise):
    """Numbers that are given, in their order."""

    def __init__(self, *numbers):
        super().__init__()
        self.numbers = torch.tensor([numbers])

    def uniform(self, shape, like):
        return self.numbers.expand(shape)


def test_a_draw_may_limit_the_positives_instead_before_they_are_counted():
    """Positives are 0, 1, 2 of the one object and 5, 6 of the other; two of the five are drawn."""
    objects, rest = [(*OBJECT, 0), (30, 0, 40, 10, 1)], [1.0] * 11
    for numbers, wanted in (
        ([5, 1, 5, 2, 5], [[0], [5]]),
        ([1, 2, 5, 5, 5], [[0, 1], []]),
        ([5, 5, 5, 1, 2], [[], [5, 6]]),
    ):
        matching = Thresholded(limit=2, sampling="random", noise=Given(*[x / 10 for x in numbers], *rest))
        assert of(matching, row(*FAR_FROM_EACH_OTHER), *objects) == wanted


def test_a_draw_is_repeated_by_its_generator():
    predictions, targets = (
        row(*shifted(*range(10)), *shifted(*range(10), start=30)),
        one_image((*OBJECT, 0), (30, 0, 40, 10, 1)),
    )
    found = [
        pairs(Thresholded(threshold=0.1, limit=3, sampling="random", noise=Noise(generator))(predictions, targets))
        for generator in (torch.Generator().manual_seed(seed) for seed in (0, 0, 1, 2, 3, 4))
    ]
    assert found[0] == found[1]
    assert any(other != found[0] for other in found)


def test_nothing_is_drawn_unless_asked_for():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    of(Thresholded(limit=1), row(*shifted(0, 1, 2)), (*OBJECT, 0))
    assert torch.equal(torch.get_rng_state(), before)


def test_images_without_objects_have_no_pairs():
    for spare in (0, 2):
        targets = random_targets(0, (0, 0), spare)
        assert len(Thresholded()(Predictions(torch.zeros(2, 5, 3), torch.rand(2, 5, 4)), targets).image) == 0


def test_fewer_samples_than_an_object_may_have_are_all_its():
    assert of(Thresholded(k=4, limit=None, threshold=0.0), row(*shifted(0, 1)), (*OBJECT, 0)) == [[0, 1]]


@pytest.mark.parametrize("conflict", ["best", "class_of_best"])
def test_it_waits_three_times_at_most(conflict):
    assert (
        waits(Thresholded(conflict=conflict), pyramid((4, 4, 8)), one_image((0, 0, 20, 20, 0), (8, 8, 30, 30, 1))) <= 3
    )


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"k": 0}, "k:"),
        ({"threshold": 1.5}, "threshold"),
        ({"class_weight": -0.1}, "class_weight"),
        ({"minimum": 2.0}, "minimum"),
        ({"limit": 0}, "limit"),
        ({"low_quality": "none"}, "low_quality"),
        ({"sampling": "best"}, "sampling"),
        ({"duplicates": "last"}, "duplicates"),
        ({"conflict": "last"}, "conflict"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(arguments, named):
    with pytest.raises(ValueError, match=named):
        Thresholded(**arguments)

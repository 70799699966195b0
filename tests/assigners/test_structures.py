import warnings
from dataclasses import replace

import pytest
import torch
from support.small import one_image, pyramid

from detassign.assigners import BACKGROUND, Assignment, AssignmentWarning, Matches, Predictions, Targets, build

N = 4
BOXES = torch.tensor([[10.0, 20.0, 30.0, 40.0], [5.0, 5.0, 50.0, 8.0]])
SHARES = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.0, 0.5, 1.0, 1.0]])
CORNERS = "expected finite x1, y1, x2, y2 with x1 <= x2 and y1 <= y2"


def parts(**changes):
    plain = {
        "logits": torch.zeros(2, N, 3),
        "boxes": torch.zeros(2, N, 4),
        "objectness": torch.zeros(2, N),
        "points": torch.zeros(N, 2),
        "strides": torch.ones(N),
        "level_sizes": (3, 1),
        "priors": torch.zeros(N, 4),
        "valid": torch.ones(2, N, dtype=torch.bool),
        "groups": 2,
    }
    return {**plain, **changes}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"logits": torch.zeros(N, 3)}, r"logits: expected shape \(B, N, C\), got \(4, 3\)"),
        ({"boxes": torch.zeros(2, 5, 4)}, r"boxes: expected shape \(2, 4, 4\), got \(2, 5, 4\)"),
        ({"objectness": torch.zeros(2, N, 1)}, r"objectness: expected shape \(2, 4\), got \(2, 4, 1\)"),
        ({"points": torch.zeros(N, 3)}, r"points: expected shape \(4, 2\) or \(2, 4, 2\), got \(4, 3\)"),
        ({"strides": torch.zeros(1)}, r"strides: expected shape \(4,\) or \(2, 4\), got \(1,\)"),
        ({"priors": torch.zeros(3, N, 4)}, r"priors: expected shape \(4, 4\) or \(2, 4, 4\), got \(3, 4, 4\)"),
        ({"valid": torch.ones(N, dtype=torch.bool)}, r"valid: expected shape \(2, 4\), got \(4,\)"),
        ({"valid": torch.ones(2, N)}, r"valid: expected a bool tensor, got torch.float32"),
        ({"groups": 3}, "groups: expected a divisor of the 2 stacked images, got 3"),
        ({"groups": 0}, "groups: expected a divisor of the 2 stacked images, got 0"),
        ({"final": 2}, "final: expected one of 2 groups, counted from 0, got 2"),
        ({"groups": None, "final": 1}, "final: expected one of 1 groups, counted from 0, got 1"),
        ({"level_sizes": (3, 2)}, r"level_sizes: \(3, 2\) add up to 5, not to N = 4"),
    ],
)
def test_predictions_that_do_not_belong_together_are_refused_by_name(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        Predictions(**parts(**changes))


def test_predictions_say_what_they_provide():
    assert Predictions(**parts()).provides == frozenset(parts())
    assert Predictions(torch.zeros(1, 2, 3), torch.zeros(1, 2, 4)).provides == {"logits", "boxes"}


def test_half_precision_is_widened_and_the_rest_left_alone():
    wide = Predictions(**parts(logits=torch.zeros(2, N, 3, dtype=torch.bfloat16), points=torch.zeros(N, 2).double()))
    wide = wide.at_least_float32()
    assert wide.logits.dtype == torch.float32
    assert wide.points.dtype == torch.float64
    assert wide.valid.dtype == torch.bool


def target_parts(**changes):
    plain = {
        "boxes": torch.zeros(2, 3, 4),
        "labels": torch.zeros(2, 3, dtype=torch.long),
        "mask": torch.ones(2, 3, dtype=torch.bool),
    }
    return {**plain, **changes}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"boxes": torch.zeros(3, 4)}, r"boxes: expected shape \(B, M, 4\), got \(3, 4\)"),
        ({"labels": torch.zeros(2, 2, dtype=torch.long)}, r"labels: expected shape \(2, 3\), got \(2, 2\)"),
        ({"labels": torch.zeros(2, 3)}, "labels: expected class indices of an integer type, got torch.float32"),
        ({"mask": torch.ones(2, 2, dtype=torch.bool)}, r"mask: expected shape \(2, 3\), got \(2, 2\)"),
        ({"mask": torch.ones(2, 3)}, "mask: expected a bool tensor, got torch.float32"),
        ({"sizes": torch.ones(3, 2)}, r"sizes: expected shape \(2, 2\), got \(3, 2\)"),
        ({"ignore_boxes": torch.zeros(2, 1, 4)}, "ignore_boxes and ignore_mask: expected both or neither"),
        (
            {"ignore_boxes": torch.zeros(2, 1, 4), "ignore_mask": torch.ones(2, 2, dtype=torch.bool)},
            r"ignore_mask: expected shape \(2, 1\), got \(2, 2\)",
        ),
        (
            {"ignore_boxes": torch.zeros(2, 4), "ignore_mask": torch.ones(2, dtype=torch.bool)},
            r"ignore_boxes: expected shape \(B, I, 4\), got \(2, 4\)",
        ),
        (
            {"ignore_boxes": torch.zeros(2, 1, 4), "ignore_mask": torch.ones(2, 1)},
            "ignore_mask: expected a bool tensor, got torch.float32",
        ),
    ],
)
def test_targets_that_do_not_belong_together_are_refused_by_name(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        Targets(**target_parts(**changes))


def test_lists_are_padded_to_the_longest():
    boxes = [torch.ones(2, 4), torch.zeros(0, 4), torch.ones(1, 4) * 5]
    labels = [torch.tensor([1, 2]), torch.zeros(0), torch.tensor([0])]
    targets = Targets.from_lists(boxes, labels, ignore_boxes=[torch.zeros(0, 4), torch.ones(1, 4), torch.zeros(0, 4)])
    assert targets.mask.tolist() == [[True, True], [False, False], [True, False]]
    assert targets.labels.tolist() == [[1, 2], [0, 0], [0, 0]]
    assert targets.boxes[2].tolist() == [[5.0] * 4, [0.0] * 4]
    assert targets.ignore_mask.tolist() == [[False], [True], [False]]


def test_lists_of_nothing_make_a_batch_of_no_targets():
    targets = Targets.from_lists([torch.zeros(0, 4)] * 2, [torch.zeros(0)] * 2)
    assert targets.boxes.shape == (2, 0, 4)
    assert targets.labels.dtype == torch.long


@pytest.mark.parametrize(("boxes", "labels"), [((2, 4), 3), ((2, 5), 2), ((4,), 1)])
def test_boxes_and_labels_of_an_image_must_agree(boxes, labels):
    with pytest.raises(ValueError, match=f"boxes of image 1: expected shape \\({labels}, 4\\) to go with its labels"):
        Targets.from_lists([torch.zeros(1, 4), torch.zeros(boxes)], [torch.zeros(1), torch.zeros(labels)])


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_out_of_range_is_refused_unless_it_is_padding(label):
    targets = one_image((0, 0, 1, 1, 0), (0, 0, 1, 1, label))
    with pytest.raises(ValueError, match=f"labels: expected 0 <= label < 3 .*, got {label}"):
        targets.check_labels(3)
    targets.mask[0, 1] = False
    targets.check_labels(3)


def test_moving_targets_changes_the_type_of_boxes_alone():
    moved = one_image((0, 0, 1, 1, 2), ignore=[[0, 0, 1, 1]]).to("cpu", torch.float64)
    assert moved.boxes.dtype == moved.ignore_boxes.dtype == torch.float64
    assert moved.labels.dtype == torch.long
    assert moved.mask.dtype == moved.ignore_mask.dtype == torch.bool


@pytest.fixture
def matches():
    """Image 0: samples 0 and 1 for target 0, sample 1 for target 1 too; image 1: sample 3 for target 0."""
    return Matches(torch.tensor([0, 0, 0, 1]), torch.tensor([0, 1, 1, 3]), torch.tensor([0, 0, 1, 0]), torch.ones(4))


@pytest.fixture
def targets():
    return Targets(
        torch.arange(16.0).view(2, 2, 4), torch.tensor([[0, 1], [2, 0]]), torch.tensor([[True, True], [True, False]])
    )


def test_matches_look_up_their_targets_and_predictions(matches, targets):
    assert matches.labels(targets).tolist() == [0, 0, 1, 2]
    assert matches.target_boxes(targets)[:, 0].tolist() == [0.0, 0.0, 4.0, 8.0]
    assert matches.flat_target(targets).tolist() == [0, 0, 1, 2]
    predictions = pyramid((2, 2, 8), images=2)
    assert torch.equal(matches.predicted_boxes(predictions)[3], predictions.boxes[1, 3])


def test_selecting_by_mask_equals_selecting_by_index(matches):
    by_mask = matches.select(torch.tensor([True, False, False, True]))
    by_index = matches.select(torch.tensor([0, 3]))
    for one in (by_mask, by_index):
        assert one.image.tolist() == [0, 1]
        assert one.sample.tolist() == [0, 3]


def assignment_of(matches, positive):
    return Assignment(matches, torch.tensor(positive), torch.zeros(2, N, 3), torch.ones(4), torch.ones(3))


def test_a_sample_belongs_to_the_target_that_pushes_it_up_most(matches):
    assert assignment_of(matches, [0.5, 0.2, 0.7, 1.0]).target_of(N).tolist() == [
        [0, 1, BACKGROUND, BACKGROUND],
        [BACKGROUND, BACKGROUND, BACKGROUND, 0],
    ]


def test_a_weight_of_zero_makes_no_positive(matches, targets):
    assignment = assignment_of(matches, [0.0, 0.2, 0.0, 0.0])
    assert assignment.target_of(N).tolist() == [[BACKGROUND, 0, BACKGROUND, BACKGROUND], [BACKGROUND] * 4]
    assert assignment.pairs_per_target(targets).tolist() == [[1.0, 0.0], [0.0, 0.0]]


def test_effective_positives_count_equal_weights_fully_and_dominated_ones_less(matches, targets):
    assert assignment_of(matches, [0.5, 0.5, 0.1, 0.0]).effective_positives(targets).tolist() == [
        [2.0, 1.0],
        [0.0, 0.0],
    ]
    lopsided = assignment_of(matches, [1.0, 0.01, 0.1, 0.0]).effective_positives(targets)[0, 0]
    assert lopsided.item() == pytest.approx(1.01**2 / 1.0001)


def test_sizes_go_with_the_boxes():
    targets = Targets.from_lists([torch.zeros(1, 4)], [torch.tensor([0])], sizes=torch.tensor([[640, 480]]))
    assert targets.sizes.dtype == torch.float32
    moved = targets.to("cpu", torch.float64)
    assert moved.sizes.dtype == torch.float64
    box = torch.tensor([[64.0, 48.0, 320.0, 240.0]])
    assert moved.shares_of(box, torch.zeros(1, dtype=torch.long)).tolist() == [[0.1, 0.1, 0.5, 0.5]]
    assert moved.shares_of(box[None]).tolist() == [[[0.1, 0.1, 0.5, 0.5]]]


def test_repeated_targets_come_group_after_group():
    targets = Targets.from_lists(
        [torch.zeros(2, 4), torch.ones(1, 4)], [torch.tensor([1, 2]), torch.tensor([3])], sizes=torch.ones(2, 2)
    )
    assert targets.repeat(1) is targets
    repeated = targets.repeat(3)
    assert repeated.labels.tolist() == [[1, 2], [3, 0]] * 3
    assert repeated.mask.tolist() == [[True, True], [True, False]] * 3
    assert repeated.boxes.shape == (6, 2, 4)
    assert repeated.sizes.shape == (6, 2)
    assert repeated.ignore_boxes is None


@pytest.mark.parametrize("labels", [torch.tensor([1.9]), torch.tensor([1.0]), torch.tensor([True])])
def test_labels_that_are_no_integers_are_refused_and_not_cut(labels):
    sentence = f"expected class indices of an integer type, got {labels.dtype}"
    with pytest.raises(ValueError, match=f"labels of image 1: {sentence}"):
        Targets.from_lists([torch.zeros(0, 4), torch.zeros(1, 4)], [torch.zeros(0), labels])
    with pytest.raises(ValueError, match=f"labels: {sentence}"):
        Targets(torch.zeros(1, 1, 4), labels[None], torch.ones(1, 1, dtype=torch.bool))


@pytest.mark.parametrize("kind", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_labels_of_any_integer_type_are_kept_as_long(kind):
    labels = torch.tensor([2, 0], dtype=kind)
    mask = torch.ones(1, 2, dtype=torch.bool)
    for targets in (Targets.from_lists([BOXES], [labels]), Targets(BOXES[None], labels[None], mask)):
        assert targets.labels.dtype == torch.long
        assert targets.labels.tolist() == [[2, 0]]


@pytest.mark.parametrize(
    "box",
    [
        [30.0, 40.0, 10.0, 20.0],  # corners swapped
        [100.0, 80.0, 20.0, 30.0],  # cxcywh and xywh
        [10.0, 40.0, 30.0, 20.0],  # one direction alone
        [0.5, 0.5, 0.2, 0.3],  # cxcywh in shares
        [0.0, 0.0, torch.nan, 4.0],
        [0.0, 0.0, 4.0, torch.inf],
    ],
    ids=str,
)
def test_boxes_that_are_no_corners_are_refused_with_their_place(box):
    two = Targets.from_lists(
        [BOXES, torch.cat([BOXES, torch.tensor([box])])], [torch.tensor([0, 1]), torch.tensor([0, 1, 2])]
    )
    with pytest.raises(ValueError, match=rf"^boxes: {CORNERS}, got \[{box[0]}, .* in image 1"):
        two.check_boxes()
    ignoring = Targets.from_lists([BOXES], [torch.tensor([0, 1])], [torch.tensor([box])])
    with pytest.raises(ValueError, match=f"^ignore_boxes: {CORNERS}"):
        ignoring.check_boxes()


def test_padding_may_hold_any_box_and_boxes_without_area_pass():
    boxes = torch.tensor([[[4.0, 4.0, 4.0, 4.0], [4.0, 2.0, 4.0, 8.0], [9.0, 9.0, 1.0, torch.nan]]])
    labels, mask = torch.zeros(1, 3, dtype=torch.long), torch.tensor([[True, True, False]])
    Targets(boxes, labels, mask, boxes, mask).check_boxes()
    Targets.from_lists([torch.zeros(0, 4)], [torch.zeros(0)]).check_boxes()


@pytest.mark.parametrize("sizes", [None, torch.tensor([[640.0, 480.0]])])
def test_shares_where_pixels_are_meant_are_warned_of_once(sizes):
    targets = Targets.from_lists([SHARES], [torch.tensor([0, 1])], sizes=sizes)
    assigner, predictions = build("fcos", 3), pyramid((4, 4, 8))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("default")
        for _ in range(3):
            assigner.loss(predictions, targets)
    assert [warning.category for warning in said] == [AssignmentWarning]
    assert "all of a batch lie between 0 and 1, as shares of the image do" in str(said[0].message)


@pytest.mark.parametrize(
    ("boxes", "sizes"),
    [
        (SHARES, torch.ones(1, 2)),  # an image of one pixel: shares are what is meant
        (torch.cat([SHARES, BOXES]), None),  # one small object among others
        (torch.zeros(1, 4), None),
        (torch.zeros(0, 4), None),
    ],
)
def test_other_small_boxes_are_not_warned_of(boxes, sizes):
    Targets.from_lists([boxes], [torch.zeros(len(boxes), dtype=torch.long)], sizes=sizes).check_boxes()


def test_nobody_looks_at_boxes_where_it_would_be_a_wait():
    """Reading numbers of a tensor without memory raises, as on a GPU it would wait."""
    targets = Targets.from_lists([SHARES.flip(1)], [torch.tensor([0, 1])], [SHARES])
    targets.to("meta").check_boxes()


def test_as_many_images_of_ignore_boxes_as_of_boxes_are_expected():
    two = torch.zeros(2, 1, 4), torch.zeros(2, 1, dtype=torch.long), torch.ones(2, 1, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"ignore_mask: expected shape \(2, 2\), got \(1, 2\)"):
        Targets(*two, ignore_boxes=BOXES[None], ignore_mask=torch.ones(1, 2, dtype=torch.bool))


@pytest.mark.parametrize(
    ("boxes", "labels", "ignore", "sentence"),
    [
        ([], [], None, "boxes: expected the tensors of at least one image, got an empty list"),
        ([BOXES, BOXES], [torch.tensor([0, 1])], None, "labels: expected a tensor for each of the 2 images, got 1"),
        ([BOXES], [torch.tensor([0, 1])], [], "ignore_boxes: expected a tensor for each of the 1 images, got 0"),
        ([BOXES.tolist()], [[0, 1]], None, "boxes of image 0: expected a tensor, got list"),
        ([BOXES], [torch.tensor([0, 1]).numpy()], None, "labels of image 0: expected a tensor, got ndarray"),
        ([BOXES[:1]], [torch.tensor(1)], None, r"labels of image 0: expected shape \(G,\), got \(\)"),
        ([BOXES[:1]], [torch.tensor([[1]])], None, r"labels of image 0: expected shape \(G,\), got \(1, 1\)"),
    ],
)
def test_lists_that_are_not_one_tensor_per_image_are_refused_in_words(boxes, labels, ignore, sentence):
    with pytest.raises(ValueError, match=sentence):
        Targets.from_lists(boxes, labels, ignore)


def test_the_last_group_is_the_final_one_unless_told_otherwise():
    assert Predictions(**parts()).final_group == 1
    assert Predictions(**parts(final=0)).final_group == 0
    assert Predictions(**parts(groups=None)).final_group == 0


@pytest.mark.parametrize("own", [True, False])
def test_the_first_group_is_a_batch_of_its_own(own):
    geometry = {"points": torch.rand(N, 2), "strides": torch.rand(N), "priors": torch.rand(N, 4)}
    if own:
        geometry = {name: torch.rand(2, *values.shape) for name, values in geometry.items()}
    predictions = Predictions(**parts(logits=torch.rand(2, N, 3), auxiliary=Predictions(**parts()), **geometry))
    first = predictions.first_group()
    assert (first.groups, first.auxiliary, first.level_sizes) == (None, None, (3, 1))
    for name in ("logits", "boxes", "valid", *(geometry if own else ())):
        assert torch.equal(getattr(first, name), getattr(predictions, name)[:1])
    if not own:
        assert first.points is predictions.points


def test_pairs_repeat_in_every_group():
    pairs = Matches(torch.tensor([0, 1]), torch.tensor([3, 2]), torch.tensor([0, 1]), torch.tensor([0.5, 0.25]))
    ignored, spared = torch.rand(2, N) < 0.5, torch.tensor([[0, 1], [2, 3], [1, 1]])
    twice = replace(pairs, ignored=ignored, spared=spared, of_boxes=pairs).repeat(2, images=2)
    for got in (twice, twice.of_boxes):
        assert got.image.tolist() == [0, 1, 2, 3]
        assert got.sample.tolist() == [3, 2, 3, 2]
        assert got.target.tolist() == [0, 1, 0, 1]
        assert got.score.tolist() == [0.5, 0.25, 0.5, 0.25]
    assert torch.equal(twice.ignored, torch.cat([ignored, ignored]))
    assert twice.spared.tolist() == [[0, 1, 2, 3], [2, 3, 2, 3], [1, 1, 1, 1]]
    assert pairs.repeat(1, images=2).ignored is None

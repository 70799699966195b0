import numpy as np
import pytest

from detassign.data.statistics import highest_overlaps


def test_box_alone_in_its_image_overlaps_nothing():
    boxes = np.array([[0, 0, 2, 2], [0, 0, 2, 2]])
    assert highest_overlaps(boxes, np.array([4, 9])).tolist() == [0, 0]


def test_no_boxes_have_no_overlaps():
    assert highest_overlaps(np.zeros((0, 4)), np.zeros(0, int)).shape == (0,)


def test_highest_overlap_equals_the_obvious_loop():
    rng = np.random.default_rng(0)
    boxes, owners = (
        np.concatenate([rng.uniform(0, 20, (40, 2)), rng.uniform(1, 15, (40, 2))], 1),
        rng.integers(0, 6, 40),
    )
    expected = [
        max((iou(a, b) for j, b in enumerate(boxes) if j != i and owners[j] == owners[i]), default=0)
        for i, a in enumerate(boxes)
    ]
    assert sorted(highest_overlaps(boxes, owners)) == pytest.approx(sorted(expected))


def iou(a, b):
    width = max(0, min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0]))
    height = max(0, min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1]))
    return width * height / (a[2] * a[3] + b[2] * b[3] - width * height)

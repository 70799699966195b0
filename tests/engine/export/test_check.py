"""Two lists of detections are compared by what they hold, not by the order of equals."""

import pytest
import torch

from detassign.engine.export.check import EQUAL, agreement, compare
from detassign.heads import Detections


def listed(*rows):
    """Detections from (side, score, label) each: squares at the origin."""
    side = torch.tensor([row[0] for row in rows], dtype=torch.float32)
    boxes = torch.stack((0 * side, 0 * side, side, side), -1)
    return Detections(boxes, torch.tensor([row[1] for row in rows]), torch.tensor([row[2] for row in rows]))


def test_equal_scores_may_come_in_any_order():
    wanted = listed((10, 0.9, 0), (20, 0.5, 1), (30, 0.5, 1), (40, 0.5, 2))
    found = listed((10, 0.9, 0), (40, 0.5, 2), (30, 0.5, 1), (20.25, 0.5, 1))
    assert compare(wanted, found, 0.05, 100) == (0.25, 0.0, 0)


def test_another_class_or_score_is_no_partner():
    wanted = listed((10, 0.9, 0), (20, 0.5, 1))
    assert compare(wanted, listed((10, 0.9, 1), (20, 0.5, 1)), 0.05, 100)[2] == 2
    assert compare(wanted, listed((10, 0.9, 0), (20, 0.5 - 2 * EQUAL, 1)), 0.05, 100)[2] == 2
    assert compare(wanted, listed((10, 0.9, 0)), 0.05, 100)[2] == 1


def test_what_stands_at_the_limit_may_be_in_one_alone():
    wanted = listed((10, 0.9, 0), (20, 0.3004, 1))
    assert compare(wanted, listed((10, 0.9, 0)), 0.3, 100)[2] == 0
    cut = listed((10, 0.9, 0), (20, 0.5, 1)), listed((10, 0.9, 0), (50, 0.5, 2))
    assert compare(*cut, 0.05, 2)[2] == 0  # of two equals either is the last of the two that are kept
    assert compare(*cut, 0.05, 3)[2] == 2


def test_nothing_is_like_nothing():
    assert compare(listed(), listed(), 0.05, 100) == (0.0, 0.0, 0)
    assert compare(listed((10, 0.9, 0)), listed(), 0.05, 100)[2] == 1


def test_the_largest_of_all_pictures_is_told():
    one, two = listed((10, 0.9, 0)), listed((10, 0.8, 0))
    shifted = listed((10.5, 0.9, 0)), listed((10, 0.8005, 0))
    found = agreement([one, two], shifted, 2, (1,), 0.05, 100)
    assert (found.pictures, found.detections, found.boxes, found.alone) == (2, 2, 0.5, 0)
    assert found.scores == pytest.approx(0.0005, abs=1e-6)

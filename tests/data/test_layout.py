import numpy as np
import pytest

from detassign.data.layout import Placed, keep_visible, place_objects
from detassign.data.style import SceneStyle


def square(left: int, width: int, label: int = 0) -> Placed:
    """A square of `width` pixels whose left edge is at `left`, in an image of 20 pixels."""
    mask = np.zeros((20, 20), np.float32)
    mask[:width, left : left + width] = 1
    return Placed(label, mask, float(width**2), np.array([left, 0, left + width, width]), width, 0)


def test_object_hidden_by_one_in_front_is_left_out():
    kept, shares = keep_visible([square(0, 4), square(0, 8)], 0.35)
    assert [placed.side for placed in kept] == [8]
    assert shares.tolist() == [1.0]


def test_object_in_front_of_a_larger_one_hides_its_share():
    kept, shares = keep_visible([square(0, 8), square(0, 4)], 0.35)
    assert [placed.side for placed in kept] == [8, 4]
    assert shares.tolist() == pytest.approx([0.75, 1.0])


def test_object_left_out_hides_nothing():
    hidden_by_last = square(0, 6)
    kept, shares = keep_visible([square(0, 8), hidden_by_last, square(0, 6)], 0.35)
    assert len(kept) == 2
    assert shares[0] == pytest.approx(1 - 36 / 64)


def test_no_objects_are_kept_of_none():
    kept, shares = keep_visible([], 0.35)
    assert kept == []
    assert shares.shape == (0,)


def test_empty_images_come_only_where_allowed():
    style = SceneStyle(empty_share=1.0)
    assert place_objects(np.random.default_rng(0), 96, style, allow_empty=True) == []
    assert place_objects(np.random.default_rng(0), 96, style, allow_empty=False)


def test_cluster_members_share_their_class_and_overlap():
    style = SceneStyle(empty_share=0, crowd_share=1, crowd_cluster_share=1, largest_count=6, truncation_share=0)
    placed = place_objects(np.random.default_rng(3), 160, style, allow_empty=False)
    assert len({p.label for p in placed}) == 1
    assert any((a.mask * b.mask).any() for a in placed for b in placed if a is not b)

import numpy as np
import pytest

from detassign.data.shapes import CLASSES, DISTRACTORS, draw_outline, fit_outline

SQUARE = [np.array([[0, 0], [10, 0], [10, 10], [0, 10]], float)]


@pytest.mark.parametrize("kind", [*CLASSES.values(), *DISTRACTORS], ids=lambda k: k.__name__)
def test_fitted_outline_starts_at_zero_and_has_the_asked_side(kind):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        points = np.concatenate(fit_outline(kind(rng), rng, 37.0, 1.7))
        np.testing.assert_allclose(points.min(0), 0, atol=1e-9)
        np.testing.assert_allclose(points.max(), 37.0)


@pytest.mark.parametrize("name", CLASSES)
def test_box_is_within_half_a_pixel_of_the_outline(name):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        outline, offset = fit_outline(CLASSES[name](rng), rng, rng.uniform(8, 60), 1.7), rng.uniform(0, 30, 2)
        _, _, box = draw_outline(outline, offset, 100)
        np.testing.assert_allclose(box[:2], offset, atol=0.5)
        np.testing.assert_allclose(box[2:], offset + np.concatenate(outline).max(0), atol=0.5)


def test_mask_of_a_square_covers_its_area():
    mask, area, _ = draw_outline(SQUARE, np.array([5.3, 7.8]), 40)
    assert mask.sum() == pytest.approx(area)
    assert area == pytest.approx(100, rel=0.06)
    assert mask[9:17, 7:15].min() == 1


def test_part_outside_the_image_counts_in_the_area_but_not_in_the_box():
    mask, area, box = draw_outline(SQUARE, np.array([-4.0, 25.0]), 30)
    assert mask.sum() == pytest.approx(0.3 * area, rel=0.06)
    np.testing.assert_allclose(box, [0, 25, 6, 30], atol=0.5)


def test_box_of_a_truncated_disk_is_tight_around_the_part_inside():
    _, _, box = draw_outline([20 + 20 * CLASSES["disk"](np.random.default_rng(0))[0]], np.array([-32.0, 10.0]), 60)
    assert box[2] == pytest.approx(8, abs=0.5)
    assert box[3] - box[1] == pytest.approx(2 * np.sqrt(20**2 - 12**2), abs=1)  # the chord, not the diameter


def test_outline_beyond_the_image_has_no_box():
    mask, area, box = draw_outline(SQUARE, np.array([100.0, 3.0]), 40)
    assert box is None
    assert not mask.any()
    assert area > 90


def test_inner_contour_is_a_hole():
    rng = np.random.default_rng(0)
    ring, disk = ([c * 20 + 20 for c in CLASSES[name](rng)] for name in ("ring", "disk"))
    assert draw_outline(ring, np.zeros(2), 60)[0][20, 20] == 0
    assert draw_outline(disk, np.zeros(2), 60)[0][20, 20] == 1

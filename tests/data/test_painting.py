import numpy as np

from detassign.data.painting import expose, paint, paint_background
from detassign.data.style import SceneStyle


def test_paint_changes_only_what_the_mask_covers():
    canvas = paint_background(np.random.default_rng(0), 40, 1.0)
    before, mask = canvas.copy(), np.zeros((40, 40), np.float32)
    mask[5:20, 8:30] = 1
    paint(canvas, mask, 7, 1.0, SceneStyle())
    np.testing.assert_array_equal(canvas[mask == 0], before[mask == 0])
    assert np.abs(canvas - before)[mask == 1].mean() > 0.05


def test_grey_scene_has_equal_channels():
    canvas = paint_background(np.random.default_rng(0), 40, 0.0)
    paint(canvas, np.ones((40, 40), np.float32), 3, 0.0, SceneStyle())
    np.testing.assert_allclose(canvas.max(-1), canvas.min(-1), atol=1e-6)


def test_contrast_lies_between_the_bounds_of_the_style():
    style, reached = SceneStyle(least_contrast=0.2, largest_contrast=0.3), []
    for seed in range(40):
        canvas = np.full((20, 20, 3), 0.5, np.float32)
        paint(canvas, np.ones((20, 20), np.float32), seed, 1.0, style)
        reached.append(np.abs(canvas[5:15, 5:15].mean((0, 1)) - 0.5).mean())
    assert 0.15 < np.median(reached) < 0.35


def test_exposed_picture_is_8_bit():
    picture = expose(np.random.default_rng(0), paint_background(np.random.default_rng(1), 32, 1.0), 0.03)
    assert picture.dtype == np.uint8
    assert picture.shape == (32, 32, 3)

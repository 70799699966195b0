"""What a sample of 160 scenes of the default style shows."""

import numpy as np
import pytest

from detassign.data.scene import draw_scene
from detassign.data.shapes import CLASSES
from detassign.data.statistics import highest_overlaps
from detassign.data.style import SceneStyle


def sides(scenes):
    boxes = np.concatenate([scene.boxes for scene in scenes])
    return (boxes[:, 2:] - boxes[:, :2]).max(1)


def overlaps_within_classes(scenes):
    boxes = np.concatenate([np.column_stack([s.boxes[:, :2], s.boxes[:, 2:] - s.boxes[:, :2]]) for s in scenes])
    owners = np.concatenate([index * len(CLASSES) + scene.labels for index, scene in enumerate(scenes)])
    return highest_overlaps(boxes, owners)


def test_same_generator_state_draws_the_same_scene():
    first, second = (draw_scene(np.random.default_rng(5), 96, SceneStyle()) for _ in range(2))
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.boxes, second.boxes)


def test_boxes_lie_inside_the_image(scenes):
    boxes = np.concatenate([scene.boxes for scene in scenes])
    assert boxes.min() >= 0
    assert boxes.max() <= 160
    assert (boxes[:, 2:] - boxes[:, :2]).min() >= 1


def test_sizes_run_from_8_pixels_to_most_of_the_image_and_mostly_lie_between_16_and_90(scenes):
    longest = sides(scenes)
    assert longest.min() >= 8
    assert longest.min() < 12
    assert longest.max() > 100
    assert np.mean((longest >= 16) & (longest <= 90)) > 0.75


def test_every_class_occurs_about_equally_often(scenes):
    counts = np.bincount(np.concatenate([scene.labels for scene in scenes]), minlength=len(CLASSES))
    assert counts.min() > 0.5 * counts.mean()


def test_some_images_hold_no_object_and_some_a_crowd(scenes):
    counts = np.array([len(scene.boxes) for scene in scenes])
    assert 0 < (counts == 0).mean() < 0.1
    assert counts.max() >= 12
    assert 3 < counts.mean() < 8


def test_boxes_of_the_same_class_overlap(scenes):
    overlaps = overlaps_within_classes(scenes)
    assert (overlaps > 0.3).mean() > 0.08
    assert (overlaps > 0.9).mean() < 0.01


def test_objects_are_hidden_in_part_but_never_beyond_the_least_visible_share(scenes):
    visible = np.concatenate([scene.visible for scene in scenes])
    assert visible.min() >= SceneStyle().least_visible
    assert 0.1 < (visible < 0.9).mean() < 0.6


def test_some_objects_are_cut_by_the_border(scenes):
    boxes = np.concatenate([scene.boxes for scene in scenes])
    assert 0.05 < ((boxes[:, :2] == 0) | (boxes[:, 2:] == 160)).any(1).mean() < 0.4


def test_aspect_ratios_vary(scenes):
    boxes = np.concatenate([scene.boxes for scene in scenes])
    ratio = np.log2((boxes[:, 2] - boxes[:, 0]) / (boxes[:, 3] - boxes[:, 1]))
    assert ratio.min() < -0.7
    assert ratio.max() > 0.7


def test_colour_and_brightness_tell_nothing_about_the_class(scenes):
    pixels = [
        (label, scene.image[int(box[1]) : int(box[3]), int(box[0]) : int(box[2])].mean((0, 1)))
        for scene in scenes
        for box, label in zip(scene.boxes, scene.labels, strict=True)
    ]
    labels, colours = np.array([p[0] for p in pixels]), np.array([p[1] for p in pixels])
    for label in range(len(CLASSES)):
        own, others = colours[labels == label], colours[labels != label]
        error = np.sqrt(own.var(0) / len(own) + others.var(0) / len(others))
        assert (np.abs(own.mean(0) - others.mean(0)) < 5 * error).all()


def test_background_and_contrast_vary_between_scenes(scenes):
    mean = np.array([scene.image.mean((0, 1)) for scene in scenes])
    spread = np.array([scene.image.std() for scene in scenes])
    assert mean.std(0).min() > 20
    assert spread.max() > 3 * spread.min()


@pytest.mark.parametrize("size", [32, 64, 300])
def test_other_image_sizes_are_drawn(size):
    scene = draw_scene(np.random.default_rng(0), size, SceneStyle(), allow_empty=False)
    assert scene.image.shape == (size, size, 3)
    assert scene.boxes.max() <= size

"""Post-processing of a fixed size detects what `PostProcess` does."""

import pytest
import torch

from detassign.assigners import Predictions
from detassign.engine.export.padded import PaddedPostProcess, best_of
from detassign.heads import PostProcess

LEVELS = (40, 12, 4)
SIZES = torch.tensor([[100.0, 80.0], [60.0, 80.0]])
SETTINGS = {
    "fcos": {"nms_iou": 0.6},
    "class_agnostic": {"nms_iou": 0.5, "class_agnostic": True},
    "no_nms": {"nms_iou": None, "score_threshold": -1.0},
    "detr": {"nms_iou": None, "one_per_sample": True, "score_threshold": -1.0, "clip": False, "min_size": None},
    "few_per_level": {"nms_iou": 0.6, "per_level": 7},
    "few_per_image": {"nms_iou": 0.6, "max_per_image": 5},
    "min_size": {"nms_iou": 0.6, "min_size": 25.0},
    "voting": {"nms_iou": 0.6, "score_voting": 0.025},
    "high_threshold": {"nms_iou": 0.6, "score_threshold": 0.95},
}


def batch(seed, classes=3):
    """Scores, factor and predictions of two images whose boxes overlap and reach beyond them."""
    generator = torch.Generator().manual_seed(seed)
    count = sum(LEVELS)
    corner = torch.rand(2, count, 2, generator=generator) * 90 - 10
    boxes = torch.cat((corner, corner + torch.rand(2, count, 2, generator=generator) * 60 + 1), -1)
    scores, factor = torch.rand(2, count, classes, generator=generator), torch.rand(2, count, generator=generator)
    return scores, factor, Predictions(scores, boxes, level_sizes=LEVELS)


@pytest.mark.parametrize("with_factor", [True, False], ids=["factor", "alone"])
@pytest.mark.parametrize("name", SETTINGS)
def test_detections_are_those_of_post_process(name, with_factor):
    settings = PostProcess(**SETTINGS[name])
    for seed in range(5):
        scores, factor, predictions = batch(seed)
        factor = factor if with_factor else None
        boxes, found, labels, count = PaddedPostProcess(settings)(scores, factor, predictions.boxes, LEVELS, SIZES)
        assert boxes.shape == (2, settings.max_per_image, 4)
        for image, (width, height) in enumerate(SIZES.tolist()):
            wanted = settings(scores, factor, predictions, image, (height, width))
            kept = int(count[image])
            torch.testing.assert_close(boxes[image, :kept], wanted.boxes)
            torch.testing.assert_close(found[image, :kept], wanted.scores)
            assert torch.equal(labels[image, :kept], wanted.labels)
            assert not boxes[image, kept:].any()
            assert not found[image, kept:].any()
            assert labels[image, kept:].eq(-1).all()


def test_a_score_holds_after_the_second_branch_too():
    scores, factor, predictions = batch(0)
    settings = PostProcess(nms_iou=None, clip=False, min_size=None)
    _, found, _, count = PaddedPostProcess(settings, 0.5)(scores, factor, predictions.boxes, LEVELS, SIZES)
    alone = ((scores * factor[..., None]) > 0.5).sum((1, 2))
    assert torch.equal(count, alone)
    assert found[found > 0].min() > 0.5


def test_samples_that_are_not_valid_are_none():
    scores, _, predictions = batch(0)
    scores[:, 10:] = -torch.inf
    scores[:, 0] = torch.nan
    settings = PostProcess(nms_iou=None, clip=False, min_size=None)
    count = PaddedPostProcess(settings)(scores, None, predictions.boxes, LEVELS, SIZES)[3]
    assert torch.equal(count, (scores > 0.05).sum((1, 2)))


def test_best_of_less_than_is_wanted_goes_on_with_nothing():
    found, place = best_of(torch.tensor([[0.2, 0.7]]), 4)
    assert found.tolist() == [[pytest.approx(0.7), pytest.approx(0.2), -1.0, -1.0]]
    assert place[0, :2].tolist() == [1, 0]
    assert place.max() < 2

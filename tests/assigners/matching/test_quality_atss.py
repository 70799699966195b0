from dataclasses import replace

import pytest
import torch
from support.small import one_image, pairs, pyramid, samples_of

from detassign.assigners import QualityATSS, build
from detassign.assigners.laws.batches import random_batch


def row(*spans, scores=None, **parts):
    """Points at 4, 12, 20, … of one row at stride 8 that predict boxes of the given x1, x2, from y 0 to 8."""
    spans = torch.tensor(spans, dtype=torch.float32)
    boxes = torch.stack([spans[:, 0], torch.zeros(len(spans)), spans[:, 1], torch.full((len(spans),), 8.0)], -1)
    logits = torch.logit(torch.tensor(scores or [0.5] * len(spans)))[None, :, None].expand(1, -1, 3).clone()
    return pyramid((1, len(spans), 8), boxes=boxes[None], logits=logits, **parts)


def test_those_of_mean_and_deviation_of_the_best_are_positive():
    ious = torch.tensor([1.0, 0.75, 0.5, 0.25])
    predictions = row(*[(0, float(32 * i)) for i in ious])
    targets = one_image((0, 0, 32, 8, 1))
    quality = 0.5**0.2 * ious**0.8
    threshold = quality.mean() + quality.std()
    matches = QualityATSS()(predictions, targets)
    assert samples_of(matches) == (quality >= threshold).nonzero()[:, 0].tolist() == [0]
    assert matches.score.item() == pytest.approx(0.5**0.2)
    best = quality[:2]  # of two, none is above their mean by their deviation
    assert best[0] < best.mean() + best.std()
    assert samples_of(QualityATSS(k=2)(predictions, targets)) == []
    assert samples_of(QualityATSS(k=1)(predictions, targets)) == [0]


def test_each_level_brings_its_best():
    boxes = torch.tensor([[0.0, 0.0, 16.0, 16.0]]).expand(6, -1).clone()
    boxes[:5, 2] = torch.tensor([4.0, 4.0, 4.0, 8.0, 8.0])
    predictions = pyramid((2, 2, 8), (1, 1, 16), (1, 1, 16), boxes=boxes[None])
    quality = 0.5**0.2 * torch.tensor([0.5, 0.5, 1.0]) ** 0.8
    assert quality[2] < quality.mean() + 1.2 * quality.std()
    assert samples_of(QualityATSS(k=1)(predictions, one_image((0, 0, 16, 16, 1)))) == [5]


def test_a_sample_outside_the_box_takes_part_and_is_not_positive():
    predictions = row((0, 8), (0, 16), (0, 16), scores=[0.5, 0.5, 0.9])
    assert samples_of(QualityATSS(k=1)(predictions, one_image((0, 0, 16, 8, 1)))) == []
    assert samples_of(QualityATSS(k=1)(predictions, one_image((0, 0, 21, 8, 1)))) == [2]


def test_a_sample_of_several_objects_goes_to_the_one_it_is_best_for():
    predictions = row((0, 16), (0, 3))
    twins = one_image((0, 0, 16, 8, 1), (0, 0, 14, 8, 1))
    assert pairs(QualityATSS(k=1)(predictions, twins)) == {(0, 0, 0)}


def test_pairs_without_quality_and_images_without_objects_are_none():
    predictions = row((50, 60), (50, 60))
    assert len(QualityATSS()(predictions, one_image((0, 0, 16, 8, 1))).image) == 0
    assert len(QualityATSS()(predictions, one_image()).image) == 0
    predictions.boxes[:] = torch.nan
    assert len(QualityATSS()(predictions, one_image((0, 0, 16, 8, 1))).image) == 0


def test_queries_without_levels_are_one_level():
    predictions, targets = random_batch(build("poto_aux", 3), seed=2)
    own = {"points": predictions.points.expand(2, -1, -1), "strides": predictions.strides.expand(2, -1)}
    queries = replace(predictions, **own, level_sizes=None)
    one_level = replace(predictions, level_sizes=(predictions.logits.shape[1],))
    assert pairs(QualityATSS()(queries, targets)) == pairs(QualityATSS()(one_level, targets))


@pytest.mark.parametrize(
    ("arguments", "sentence"), [({"k": 0}, "k: expected"), ({"alpha": 2}, "alpha: expected a number from 0 to 1")]
)
def test_what_it_does_not_know_is_refused(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        QualityATSS(**arguments)

"""Pictures in memory: the same detections whatever shares their batch."""

import numpy as np
import pytest
import torch

from detassign.engine.build import build_model, load_checkpoint
from detassign.engine.config import compose, source_of
from detassign.engine.predictor import Predictor
from detassign.engine.train import find_run


@pytest.fixture(scope="module")
def predictor(tiny_run):
    return Predictor.load(*find_run(tiny_run))


def pictures(*sizes):
    """Noise, RGB, of heights and widths."""
    return [np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8) for seed, size in enumerate(sizes)]


def test_the_batch_changes_nothing_and_the_order_is_kept(predictor, monkeypatch):
    images = pictures((40, 60), (60, 40), (40, 60), (80, 120), (40, 40), (60, 40), (20, 30))
    alone = predictor(images, score=0.001)
    sizes, detect = [], Predictor.detect

    def watched(self, batch, *arguments):
        sizes.append(len(batch))
        return detect(self, batch, *arguments)

    monkeypatch.setattr(Predictor, "detect", watched)
    together = predictor(images, score=0.001, batch=4)
    assert sizes == [4, 2, 1]  # 3 : 2, 2 : 3 and 1 : 1
    for one, other in zip(alone, together, strict=True):
        assert len(one.scores) > 0
        torch.testing.assert_close(other.boxes, one.boxes, atol=1e-3, rtol=0)
        torch.testing.assert_close(other.scores, one.scores, atol=1e-5, rtol=0)
        assert torch.equal(other.labels, one.labels)


@pytest.mark.parametrize("detector", ["detr_tiny", "dino_r18_tiny"])
def test_neither_does_it_for_query_detectors(detector, tiny_run):
    source = source_of(find_run(tiny_run)[0])
    config = compose(detector, None, source, changes={"input.scale": (96, 96)})
    torch.manual_seed(0)
    predictor, images = Predictor(config, build_model(config)), pictures((60, 90), (90, 60), (60, 90), (60, 90))
    several = zip(predictor(images, score=0, limit=30), predictor(images, score=0, limit=30, batch=3), strict=True)
    for one, other in several:
        assert len(one.scores) == 30
        torch.testing.assert_close(other.boxes, one.boxes, atol=1e-3, rtol=0)
        torch.testing.assert_close(other.scores, one.scores, atol=1e-5, rtol=0)


def test_images_are_rgb_and_boxes_in_their_pixels(predictor):
    red, wide = np.full((40, 60, 3), (255, 0, 0), np.uint8), *pictures((50, 300))
    assert predictor.prepare(red[..., ::-1], "image")["inputs"][:, 0, 0].tolist() == [
        0,
        0,
        255,
    ]  # BGR, as files are read
    (found,) = predictor([wide], score=0, limit=50)
    assert len(found.scores) == 50
    assert found.boxes[:, 2].max() > 96
    assert (found.boxes <= torch.tensor([300.01, 50.01, 300.01, 50.01])).all()


def test_a_model_that_is_there_is_taken_as_it_is(predictor, tiny_run):
    config, checkpoint = find_run(tiny_run)
    model = build_model(config)
    load_checkpoint(model, checkpoint)
    images = pictures((40, 60))
    (own,), (wanted,) = Predictor(config, model.train())(images, score=0.001), predictor(images, score=0.001)
    assert torch.equal(own.boxes, wanted.boxes)
    assert not model.training


def test_score_and_limit_leave_the_model_as_it_was(predictor):
    before = predictor.model.post_process
    assert len(predictor(pictures((40, 60)), score=0, limit=3)[0].scores) == 3
    assert predictor.model.post_process == before


def test_half_computes_the_network_alone_in_narrow_numbers(predictor, tiny_run):
    images, seen = pictures((40, 60), (60, 60)), []
    half = Predictor.load(*find_run(tiny_run), half=True)
    half.model.bbox_head.conv_cls.register_forward_hook(lambda module, taken, given: seen.append(given.dtype))
    for one, other in zip(predictor(images, score=0, limit=5), half(images, score=0, limit=5), strict=True):
        assert other.boxes.dtype == other.scores.dtype == torch.float32
        torch.testing.assert_close(other.scores, one.scores, atol=0.01, rtol=0)
    assert set(seen) == {torch.bfloat16}


def test_no_images_are_no_detections(predictor):
    assert predictor([]) == []


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (np.zeros((4, 4), np.uint8), r"image 1: expected .* got \(4, 4\) of uint8"),
        (np.zeros((4, 4, 3), np.float32), r"image 1: expected .* got \(4, 4, 3\) of float32"),
        (np.zeros((0, 4, 3), np.uint8), r"image 1: expected .* got \(0, 4, 3\)"),
        ("cat.jpg", "image 1: expected .* got str"),
        (np.zeros((5000, 1, 3), np.uint8), "image 1: 1 x 5000 pixels cannot be brought to the model's size"),
    ],
)
def test_what_is_no_image_is_named(image, sentence, predictor):
    with pytest.raises(ValueError, match=sentence):
        predictor([*pictures((40, 60)), image])


def test_an_impossible_batch_is_refused(predictor):
    with pytest.raises(ValueError, match="batch: expected a number of at least 1, got 0"):
        predictor(pictures((40, 60)), batch=0)

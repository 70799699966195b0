"""The constants of the YOLO family, and where its presets differ from its code."""

import pytest
import torch
from support.small import one_image, pairs, pyramid

from detassign.assigners import Sigmoid, build, set_progress


def constants(assigner):
    return {name: getattr(assigner.matching, name) for name in ("k", "score_power", "iou_power", "margin", "min_side")}


def box_terms(assigner):
    return {name: (type(term.part).__name__, term.weight) for name, term in assigner.box_loss.items()}


@pytest.mark.parametrize(("name", "min_side"), [("tal_v8", 0.0), ("tal_v84", 16.0)])
def test_one_head_has_the_constants_of_its_code(name, min_side):
    assigner = build(name, num_classes=3)
    matching, weighting = assigner.matching, assigner.weighting
    assert constants(assigner) == {
        "k": 10,
        "score_power": 0.5,
        "iou_power": 6.0,
        "margin": 1e-9,
        "min_side": min_side,
    }
    assert (matching.overlap, matching.conflict, matching.keep) == ("ciou", "all", None)
    assert (weighting.class_scale, weighting.gamma, weighting.count) == (0.5, 0.0, "weights")
    assert (weighting.target.eps, weighting.target.target.score_power) == (1e-9, 0.5)
    assert box_terms(assigner) == {"box": ("CIoULoss", 7.5), "dfl": ("DistributionFocalLoss", 1.5)}
    assert assigner.box_loss["dfl"].part.eps == 0.01
    assert assigner.cardinality == "one-to-many"
    assert isinstance(assigner.score, Sigmoid)


def test_a_pair_without_alignment_wins_no_sample():
    """The second object lies on the second point, whose box is elsewhere: the original may make it a positive."""
    predictions = pyramid((1, 2, 8))
    predictions.boxes[0, 1] = torch.tensor([40.0, 0.0, 48.0, 8.0])
    targets = one_image((0, 0, 8, 8, 0), (8, 0, 16, 8, 1))
    assert pairs(build("tal_v8", 3).match(predictions_with_bins(predictions), targets)) == {(0, 0, 0)}
    filled = build("tal_v8(best_of=filled)", 3)
    assert pairs(filled.match(predictions_with_bins(predictions), targets)) == {(0, 0, 0), (0, 1, 1)}


def test_yolov10_has_a_head_with_one_sample_per_object_and_one_with_ten():
    assigner = build("yolov10", num_classes=3)
    assert assigner.cardinality == "one-to-one"
    assert (assigner.matching.k, assigner.auxiliary.matching.k) == (1, 10)
    assert assigner.current_weights == (1.0, 1.0)
    for each in (assigner, assigner.auxiliary):
        assert box_terms(each) == {"box": ("CIoULoss", 7.5), "dfl": ("DistributionFocalLoss", 1.5)}
        assert each.matching.min_side == 0


def test_yolo26_keeps_one_of_seven_and_moves_the_weight_to_it():
    assigner = build("yolo26", num_classes=3)
    assert (assigner.matching.k, assigner.matching.keep, assigner.matching.min_side) == (7, 1, 16.0)
    assert (assigner.auxiliary.matching.k, assigner.auxiliary.matching.keep) == (10, None)
    assert assigner.current_weights == pytest.approx((0.2, 0.8))
    set_progress(assigner, 1.0)
    assert assigner.current_weights == pytest.approx((0.9, 0.1))
    assert box_terms(assigner) == {"box": ("CIoULoss", 7.5), "l1": ("RelativeSidesLoss", 1.5)}


def test_yolov10_leaves_an_object_one_sample_where_the_original_may_hand_it_a_second():
    """The two small objects contest the second point, which overlaps the large one most, although it did not ask."""
    boxes = torch.tensor([[0.0, 0, 24, 8], [2, 0, 22, 8], [40, 0, 48, 8]])[None]
    predictions = pyramid((1, 3, 8), boxes=boxes, distribution=torch.zeros(1, 3, 4, 16))
    targets = one_image((0, 0, 24, 8, 0), (7, 0, 22, 8, 1), (7, 0, 21, 8, 1))
    assert pairs(build("yolov10", 3).match(predictions, targets)) == {(0, 0, 0)}
    assert pairs(build("yolov10(keep=None)", 3).match(predictions, targets)) == {(0, 0, 0), (0, 1, 0)}


def predictions_with_bins(predictions):
    images, samples = predictions.logits.shape[:2]
    return pyramid((1, samples, 8), boxes=predictions.boxes, distribution=torch.zeros(images, samples, 4, 16))


def test_the_losses_are_not_multiplied_by_the_batch_size():
    predictions = predictions_with_bins(pyramid((1, 2, 8)))
    twice = pyramid(
        (1, 2, 8),
        images=2,
        boxes=predictions.boxes.expand(2, -1, -1),
        distribution=predictions.distribution.expand(2, -1, -1, -1),
    )
    once, both = one_image((0, 0, 8, 8, 0), (8, 0, 16, 8, 1)), one_image((0, 0, 8, 8, 0), (8, 0, 16, 8, 1)).repeat(2)
    assigner = build("tal_v8", 3)
    for name, value in assigner.loss(predictions, once).items():
        assert assigner.loss(twice, both)[name].item() == pytest.approx(value.item())

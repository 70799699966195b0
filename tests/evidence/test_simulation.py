import pytest
import torch

from detassign.assigners import BACKGROUND, SigmoidObjectness, Targets
from detassign.assigners.boxes import iou, side_distances
from detassign.evidence.inspection.simulation import empty_pyramid, simulate, smallest_owner

BIG_AND_SMALL = Targets.from_lists([torch.tensor([[0.0, 0, 128, 128], [8, 8, 40, 40]])], [torch.tensor([0, 2])])
STRIDES = (8, 16, 32)


def predicted(seed=0):
    return simulate(BIG_AND_SMALL, (128, 160), STRIDES, num_classes=3, seed=seed)


def owned_by(target):
    return smallest_owner(empty_pyramid((128, 160), STRIDES, 3), BIG_AND_SMALL) == target


def overlap_with(target):
    return iou(predicted().boxes[0], BIG_AND_SMALL.boxes[0, target])


def test_levels_cover_an_image_that_no_stride_divides():
    pyramid = empty_pyramid((20, 33), (8, 16), 1)
    assert pyramid.level_sizes == (3 * 5, 2 * 3)
    assert pyramid.points[-1].tolist() == [40, 24]


def test_a_point_belongs_to_the_smallest_object_that_holds_it():
    owner = smallest_owner(empty_pyramid((128, 160), (8,), 3), BIG_AND_SMALL).view(16, 20)
    assert owner[2, 2] == 1
    assert owner[8, 8] == 0
    assert owner[8, 18] == BACKGROUND


def test_boxes_are_best_at_the_centre_of_their_object():
    offset = (predicted().points - 64).abs().amax(-1)
    overlap, owned = overlap_with(0), owned_by(0) & (predicted().strides == 16)
    assert overlap[owned & (offset < 24)].mean() > overlap[owned & (offset > 40)].mean() + 0.1


def test_boxes_are_best_on_the_level_that_suits_their_object():
    offset, strides = (predicted().points - 64).abs().amax(-1), predicted().strides
    near = owned_by(0) & (offset < 24)
    assert overlap_with(0)[near & (strides == 16)].mean() > overlap_with(0)[near & (strides == 32)].mean()


def test_scores_follow_the_boxes():
    owned = owned_by(0)
    score = SigmoidObjectness()(predicted()).probability[0, owned, 0]
    assert torch.corrcoef(torch.stack([score, overlap_with(0)[owned]]))[0, 1] > 0.8


def test_points_outside_all_objects_score_next_to_nothing():
    probability = SigmoidObjectness()(predicted()).probability[0]
    assert probability[owned_by(BACKGROUND)].max() < 0.02


def test_the_same_seed_gives_the_same_predictions_and_another_does_not():
    assert torch.equal(predicted().boxes, predicted().boxes)
    assert not torch.equal(predicted().boxes, predicted(seed=1).boxes)


def test_an_image_without_objects_is_all_background():
    empty = simulate(Targets.from_lists([torch.zeros(0, 4)], [torch.zeros(0)]), (64, 64), STRIDES, 2)
    assert SigmoidObjectness()(empty).probability.max() < 0.02


def test_two_images_are_refused():
    two = Targets.from_lists([torch.zeros(0, 4)] * 2, [torch.zeros(0)] * 2)
    with pytest.raises(ValueError, match="expected those of one image, got 2"):
        simulate(two, (64, 64), STRIDES, 2)


def test_distributions_of_distances_mean_the_boxes_as_far_as_they_reach():
    predictions = predicted()
    bins = predictions.distribution.shape[-1]
    mean = predictions.distribution.softmax(-1) @ torch.arange(float(bins))
    distances = side_distances(predictions.points, predictions.boxes) / predictions.strides[:, None]
    torch.testing.assert_close(mean, distances.clamp(0, bins - 1), rtol=1e-3, atol=1e-3)

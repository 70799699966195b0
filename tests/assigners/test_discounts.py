import torch
from support.small import one_image, pyramid

from detassign.assigners import Matches, Ramp, RelativeFit
from detassign.assigners.discounts import largest_iou, overlaps

OBJECT = (0, 0, 16, 16, 1)


def predicted(*boxes):
    """Four samples of stride 8 with these boxes."""
    return pyramid((2, 2, 8), boxes=torch.tensor([boxes], dtype=torch.float32))


def bag(*samples, target=0):
    index = torch.tensor(samples)
    zeros = torch.zeros_like(index)
    return Matches(zeros, index, zeros + target, torch.ones(len(samples)))


FITS = predicted([0, 0, 16, 8], [0, 0, 16, 12], [0, 0, 16, 14], [30, 30, 40, 40])  # IoU 1/2, 3/4, 7/8, 0


def test_relative_fit_stretches_one_over_one_minus_iou_from_worst_to_best():
    spared = RelativeFit()(FITS, one_image(OBJECT), bag(0, 1, 2, 3))
    torch.testing.assert_close(spared.score, torch.tensor([1 / 7, 3 / 7, 1.0, 0.0]))  # of 2, 4, 8 and 1


def test_relative_fit_spares_a_bag_of_one_in_full():
    assert RelativeFit()(FITS, one_image(OBJECT), bag(3)).score.tolist() == [1.0]


def test_the_iou_of_a_sample_is_that_with_any_object():
    targets = one_image(OBJECT, (30, 30, 40, 40, 0))
    torch.testing.assert_close(largest_iou(FITS, targets), torch.tensor([[0.5, 0.75, 0.875, 1.0]]))


def test_the_ramp_rises_from_the_threshold_to_the_objects_best():
    spared = Ramp(0.6)(FITS, one_image(OBJECT), bag(0))
    assert spared.sample.tolist() == [1, 2]
    torch.testing.assert_close(spared.score, torch.tensor([0.15 / 0.275, 1.0]))


def test_an_object_that_nothing_fits_spares_nothing():
    assert not len(Ramp(0.9)(FITS, one_image(OBJECT), bag(0)).sample)


def test_overlaps_in_parts_are_those_in_one(monkeypatch):
    targets = one_image(OBJECT, (30, 30, 40, 40, 0), (0, 0, 8, 8, 0))
    whole = torch.cat([part for _, part in overlaps(FITS, targets)], -1)
    monkeypatch.setattr("detassign.assigners.matching.pairs.PAIRS_IN_CACHE", 4)
    parts = list(overlaps(FITS, targets))
    assert [start for start, _ in parts] == [0, 1, 2]
    assert torch.equal(torch.cat([part for _, part in parts], -1), whole)

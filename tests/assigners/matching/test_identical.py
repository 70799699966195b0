import torch
from hypothesis import given
from hypothesis import strategies as st
from support.random_batches import law

from detassign.assigners import Targets
from detassign.assigners.matching.identical import identical_objects


def few_boxes(seed, objects, images=2):
    """Targets of which many are alike, some of them padding."""
    generator = torch.Generator().manual_seed(seed)
    boxes = torch.randint(0, 2, (images, objects, 4), generator=generator).float()
    labels = torch.randint(0, 2, (images, objects), generator=generator)
    return Targets(boxes, labels, torch.rand(images, objects, generator=generator) < 0.8)


@given(seed=st.integers(0, 10_000), objects=st.integers(0, 7), of_one_class=st.booleans())
@law
def test_sets_are_of_equal_boxes_and_classes_and_places_go_by_class(seed, objects, of_one_class):
    targets = few_boxes(seed, objects)
    group, place = identical_objects(targets, of_one_class)
    for boxes, labels, mask, groups, places in zip(
        targets.boxes, targets.labels, targets.mask, group, place, strict=True
    ):
        same = (boxes[:, None] == boxes).all(-1) & mask[:, None] & mask | torch.eye(objects, dtype=torch.bool)
        if of_one_class:
            same &= labels[:, None] == labels
        assert torch.equal(groups[:, None] == groups, same)
        for one in range(objects):
            alike = same[one].nonzero()[:, 0].tolist()
            assert sorted(alike, key=lambda other: (labels[other].item(), other))[places[one]] == one


def test_padding_that_is_no_number_is_identical_to_none():
    targets = Targets(torch.full((1, 3, 4), torch.nan), torch.zeros(1, 3, dtype=torch.long), torch.zeros(1, 3) > 0)
    assert identical_objects(targets)[1].tolist() == [[0, 0, 0]]
    assert sorted(identical_objects(targets)[0][0].tolist()) == [0, 1, 2]

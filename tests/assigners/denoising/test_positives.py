"""Slots at the samples that another head calls positive: how many, which, and what each is to find."""

import pytest
import torch

from detassign.assigners import Noise, Positives, Targets
from detassign.assigners.structures import BACKGROUND

SAMPLES = 40


def samples(*counts, seed=0):
    """Boxes (B, N, 4), the object of each sample, so many positives an image at random places, and three objects each."""
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(len(counts), SAMPLES, 2, generator=generator) * 50
    boxes = torch.cat([corner, corner + 1 + 10 * torch.rand(corner.shape, generator=generator)], -1)
    target = torch.full((len(counts), SAMPLES), BACKGROUND)
    for own, count in zip(target, counts, strict=True):
        places = torch.randperm(SAMPLES, generator=generator)[:count]
        own[places] = torch.randint(3, (count,), generator=generator)
    objects = [torch.tensor([[0.0, 0.0, 9.0, 9.0], [9.0, 9.0, 30.0, 30.0], [1.0, 2.0, 30.0, 40.0]])] * len(counts)
    sizes = torch.tensor([64.0, 48.0]).expand(len(counts), 2)
    return boxes, target, Targets.from_lists(objects, [torch.tensor([0, 1, 2])] * len(counts), sizes=sizes)


def replayed(seed):
    return Noise(torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("counts", "slots"), [((0, 0), 9), ((3, 5), 9), ((12, 5), 12), ((25, 40), 20), ((20, 20), 20)])
@pytest.mark.parametrize("fill", ["padding", "negatives"])
def test_slots_are_as_many_as_the_image_with_the_most_positives_needs(counts, slots, fill):
    boxes, target, targets = samples(*counts)
    known = Positives(least=9, most=20, fill=fill)(boxes, target, targets)
    assert known.boxes.shape == (len(counts), slots, 4)
    assert known.positive.sum(1).tolist() == [min(count, slots) for count in counts]
    assert torch.equal(known.known, torch.ones_like(known.known) if fill == "negatives" else known.positive)


def test_no_more_slots_than_samples():
    boxes, target, targets = samples(2, 0)
    assert Positives()(boxes[:, :4], target[:, :4], targets).boxes.shape == (2, 4, 4)


@pytest.mark.parametrize("fill", ["padding", "negatives"])
def test_a_slot_has_the_box_and_the_object_of_its_sample(fill):
    boxes, target, targets = samples(7, 15)
    known = Positives(least=9, most=12, fill=fill)(boxes, target, targets)
    half = known.boxes[..., 2:] / 2
    corners = (
        torch.cat([known.boxes[..., :2] - half, known.boxes[..., :2] + half], -1) * targets.sizes.repeat(1, 2)[:, None]
    )
    same = (corners[:, :, None] - boxes[:, None]).abs().amax(-1) < 1e-4
    assert torch.equal(same.any(-1), known.known)
    found = target.gather(1, same.int().argmax(-1))
    assert torch.equal(found[known.positive], known.target[known.positive])
    assert (found[known.known & ~known.positive] == BACKGROUND).all()
    assert (known.boxes[~known.known] == 0.5).all()


def test_an_image_with_more_positives_has_a_random_choice_of_them_which_can_be_replayed():
    boxes, target, targets = samples(30, 3)
    choose = Positives(least=1, most=10)
    first, again, other = (choose(boxes, target, targets, noise=replayed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first.boxes, again.boxes)
    assert not torch.equal(first.boxes[0], other.boxes[0])
    seen = torch.cat([choose(boxes, target, targets, noise=replayed(seed)).boxes[0] for seed in range(40)])
    assert len(seen.unique(dim=0)) == 30
    assert all(len(own.unique(dim=0)) == 10 for own in seen.split(10))


def test_with_padding_an_image_has_the_same_slots_whatever_its_batch_mates_have():
    boxes, target, targets = samples(4, 18)
    both = Positives(least=2)(boxes, target, targets)
    alone = Positives(least=2)(boxes[:1], target[:1], targets.first_images(1))
    assert torch.equal(both.boxes[:1, :4], alone.boxes)
    assert torch.equal(both.target[:1, :4], alone.target)
    assert not both.known[0, 4:].any()


def test_negatives_are_of_valid_samples_alone():
    boxes, target, targets = samples(2, 12)
    valid = torch.zeros_like(target, dtype=torch.bool)
    valid[0, :6] = True
    known = Positives(least=9, fill="negatives")(boxes, target, targets, valid)
    assert known.known[0].sum() == 2 + (target[0, :6] == BACKGROUND).sum()
    assert known.known[1].all()


def test_all_slots_see_the_known_ones_and_themselves():
    boxes, target, targets = samples(1, 3)
    sight = Positives(least=1)(boxes, target, targets).sight()
    assert sight[0, 0].tolist() == [[True, False, False], [True, True, False], [True, False, True]]
    assert sight[1].all()


def test_pairs_of_two_layers_and_the_objects_that_have_a_slot():
    boxes, target, targets = samples(0, 3)
    target[1, target[1] != BACKGROUND] = torch.tensor([2, 0, 2])
    known = Positives(least=1)(boxes, target, targets)
    matches = known.matches(2)
    assert matches.image.tolist() == [1, 1, 1, 3, 3, 3]
    assert matches.sample.tolist() == [0, 1, 2] * 2
    assert matches.target.tolist() == [2, 0, 2] * 2
    assert matches.ignored.tolist() == [[True] * 3, [False] * 3] * 2
    assert known.found(targets).mask.tolist() == [[False] * 3, [True, False, True]]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"least": 0}, "least: expected a whole number of at least 1, got 0"),
        ({"most": 2.5}, "most: expected a whole number of at least 1, got 2.5"),
        ({"least": 50, "most": 5}, "least: expected no more than most = 5, got 50"),
        ({"most": 5}, "least: expected no more than most = 5, got 9"),
        ({"fill": "zeros"}, "fill: expected one of padding, negatives, got 'zeros'"),
    ],
)
def test_what_cannot_be_is_said(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        Positives(**arguments)

"""Denoising: what every kind promises, and what each kind does to labels and boxes."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.random_batches import CLASSES, SIDE, law, random_targets

from detassign.assigners import DENOISINGS, ContrastiveDenoising, Denoising, Noise, Predictions, build

seeds = st.integers(0, 10_000)
counts = st.tuples(st.integers(0, 5), st.integers(0, 5))
KINDS = [
    *DENOISINGS,
    {"type": "dn", "corners": True, "padding_in_loss": True},
    {"type": "cdn", "groups": 2, "unknown_negatives": True},
    {"type": "cdn", "groups": 2, "unknown_negatives": True, "far": "second_half"},
]
kinds = pytest.mark.parametrize("kind", KINDS, ids=str)


class Constant(Noise):
    """The same number for every slot."""

    def uniform(self, shape, like):
        return torch.full(shape, 0.1)

    def integers(self, high, shape, like):
        return torch.ones(shape, dtype=torch.long)


def seeded(seed):
    return Noise(torch.Generator().manual_seed(seed))


def made(kind, targets, noise=None, **changes):
    spec = {"type": kind} if isinstance(kind, str) else kind
    return DENOISINGS.build({**spec, **changes})(targets, CLASSES, noise)


def corners_of(boxes):
    """Boxes (..., 4) cxcywh -> xyxy."""
    return torch.cat([boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2], -1)


def true_boxes(targets):
    """(B, M, 4) cxcywh, shares."""
    boxes = targets.boxes / SIDE
    return torch.cat([(boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]], -1)


@kinds
@given(seed=seeds, counts=counts)
@law
def test_every_object_has_one_positive_in_every_group(kind, seed, counts):
    targets = random_targets(seed, counts)
    queries = made(kind, targets, seeded(seed))
    assert queries.labels.shape == (2, queries.groups * queries.block)
    assert not (queries.positive & ~queries.known).any()
    matches = queries.matches()
    assert targets.mask[matches.image, matches.target].all()
    place = (matches.image * queries.groups + matches.sample // max(queries.block, 1)) * 8 + matches.target
    assert place.unique().numel() == len(place) == queries.groups * sum(counts)
    assert ((queries.labels >= 0) & (queries.labels <= CLASSES)).all()
    assert queries.boxes.isfinite().all()
    assert (queries.labels[~queries.known] == 0).all()
    assert (queries.boxes[~queries.known] == 0.5).all()
    assert (queries.target[~queries.positive] == 0).all()


@kinds
@given(seed=seeds, counts=counts)
@law
def test_the_same_generator_makes_the_same_queries(kind, seed, counts):
    targets = random_targets(seed, counts)
    first, again = (made(kind, targets, seeded(seed)) for _ in range(2))
    assert torch.equal(first.labels, again.labels)
    assert torch.equal(first.boxes, again.boxes)
    if any(counts):
        assert not torch.equal(first.boxes, made(kind, targets, seeded(seed + 1)).boxes)


def as_rows(queries, image):
    """The known queries of an image, in an order of their own."""
    known = queries.known[image]
    parts = (queries.labels[image], *queries.boxes[image].unbind(-1), queries.positive[image], queries.target[image])
    rows = torch.stack([part[known].double() for part in parts], 1)
    return sorted(rows.tolist())


@kinds
@given(seed=seeds, counts=st.tuples(st.integers(1, 5), st.integers(1, 5)))
@law
def test_padding_and_the_order_of_objects_change_no_query(kind, seed, counts):
    if isinstance(kind, dict) and kind.get("far") == "second_half":
        counts = (counts[0], 0)  # what is the second half depends on the order, unless one image has all the objects
        kind = {**kind, "far": "negatives"}
    targets = random_targets(seed, counts, spare=2)
    targets.boxes[~targets.mask] = torch.nan
    targets.labels[~targets.mask] = 99
    order = torch.randperm(targets.mask.shape[1], generator=torch.Generator().manual_seed(seed))
    parts = {name: getattr(targets, name)[:, order] for name in ("boxes", "labels", "mask")}
    groups = {"groups": 2}
    tight = made(kind, random_targets(seed, counts, spare=2), Constant(), **groups)
    shuffled = made(kind, replace(targets, **parts), Constant(), **groups)
    back = replace(shuffled, target=torch.where(shuffled.positive, order[shuffled.target], 0))
    for image in range(2):
        assert as_rows(back, image) == as_rows(tight, image)


@kinds
@pytest.mark.parametrize("spare", [0, 3])
def test_a_batch_without_objects_has_queries_for_nothing(kind, spare):
    queries = made(kind, random_targets(0, (0, 0), spare))
    assert not queries.known.any()
    assert len(queries.matches(3).image) == 0
    assert queries.labels.shape[1] == queries.groups * queries.block
    if spare == 0:
        assert queries.labels.shape == (2, 0)
        assert queries.boxes.shape == (2, 0, 4)
        assert not queries.attention_mask(5).any()


@kinds
@pytest.mark.parametrize(("most", "block_limit"), [(40, 40), (1000, 1000)])
def test_crowded_images_stay_within_the_cap(kind, most, block_limit):
    targets = random_targets(0, (500, 3), spare=0)
    queries = made(kind, targets, seeded(0), max_queries=most)
    assert queries.labels.shape[1] <= most
    assert queries.groups == (2 if most == 1000 and kind == "dn" else 1 if most == 40 else queries.groups)
    matches = queries.matches()
    crowded = matches.target[matches.image == 0]
    assert crowded.unique().numel() == len(crowded) // queries.groups
    assert targets.mask[matches.image, matches.target].all()
    assert (matches.image == 1).sum() == 3 * queries.groups
    if most == 40:
        assert not torch.equal(queries.target, made(kind, targets, seeded(1), max_queries=most).target)


def test_a_cap_that_is_not_reached_changes_nothing():
    targets = random_targets(0, (4, 2), spare=0)
    for kind, most in (("dn", 20), ("cdn", 200)):
        free, capped = made(kind, targets, seeded(3)), made(kind, targets, seeded(3), max_queries=most)
        assert torch.equal(free.boxes, capped.boxes)


@given(seed=seeds, scale=st.floats(0.05, 1.0))
@law
def test_denoising_keeps_the_centre_in_the_box_and_the_size_near_its_own(seed, scale):
    targets = random_targets(seed, (4, 2))
    queries = Denoising(groups=3, box_noise=scale)(targets, CLASSES, seeded(seed))
    image, slot = queries.positive.nonzero(as_tuple=True)
    truth = true_boxes(targets)[image, queries.target[image, slot]]
    moved = (queries.boxes[image, slot] - truth).abs()
    assert (moved[:, :2] <= scale * truth[:, 2:] / 2 + 1e-6).all()
    assert (moved[:, 2:] <= scale * truth[:, 2:] + 1e-6).all()
    assert ((queries.boxes >= 0) & (queries.boxes <= 1)).all()


@given(seed=seeds)
@law
def test_negatives_move_farther_than_positives(seed):
    targets = random_targets(seed, (4, 2))
    targets = replace(targets, boxes=20 + targets.boxes / 4)  # nothing is clamped
    queries = ContrastiveDenoising(groups=3, box_noise=0.8)(targets, CLASSES, seeded(seed))
    places = targets.mask.shape[1]
    slot = torch.arange(queries.labels.shape[1]).expand_as(queries.labels)
    truth = true_boxes(targets).gather(1, (slot % places)[..., None].expand(-1, -1, 4))
    moved = (corners_of(queries.boxes) - corners_of(truth)).abs() / (truth[..., 2:].repeat(1, 1, 2) / 2 * 0.8)
    negative = queries.known & ~queries.positive
    assert torch.equal(negative, queries.known & (slot % (2 * places) >= places))
    assert (moved[queries.positive] <= 1 + 1e-4).all()
    assert ((moved[negative] >= 1 - 1e-4) & (moved[negative] <= 2 + 1e-4)).all()


def test_negatives_that_are_not_far_move_as_positives_do():
    """As in Stable-DINO's code: the same numbers drawn, and nobody beyond half a side."""
    targets = random_targets(0, (4, 2))
    targets = replace(targets, boxes=20 + targets.boxes / 4)  # nothing is clamped
    near, usual = (
        ContrastiveDenoising(groups=3, far=far)(targets, CLASSES, seeded(0)) for far in ("none", "negatives")
    )
    slot = torch.arange(near.labels.shape[1]).expand_as(near.labels)
    truth = true_boxes(targets).gather(1, (slot % targets.mask.shape[1])[..., None].expand(-1, -1, 4))
    moved = (corners_of(near.boxes) - corners_of(truth)).abs() / (truth[..., 2:].repeat(1, 1, 2) / 2)
    negative = near.known & ~near.positive
    assert negative.any()
    assert (moved[negative] <= 1 + 1e-4).all()
    assert torch.equal(near.boxes[near.positive], usual.boxes[usual.positive])


@kinds
def test_without_noise_queries_are_the_objects(kind):
    targets = random_targets(0, (4, 2))
    queries = made(kind, targets, label_noise=0.0, box_noise=0.0)
    image, slot = queries.positive.nonzero(as_tuple=True)
    target = queries.target[image, slot]
    torch.testing.assert_close(queries.boxes[image, slot], true_boxes(targets)[image, target])
    if not (isinstance(kind, dict) and kind.get("far")):
        assert torch.equal(queries.labels[image, slot], targets.labels[image, target])


def test_labels_change_as_often_as_they_should():
    targets = random_targets(0, (500, 500), spare=0)
    for denoising, share in ((Denoising(groups=4), 0.2), (ContrastiveDenoising(groups=4), 0.25)):
        queries = denoising(targets, 1000, seeded(0))
        image, slot = queries.positive.nonzero(as_tuple=True)
        changed = queries.labels[image, slot] != targets.labels[image, queries.target[image, slot]]
        assert changed.double().mean().item() == pytest.approx(share, abs=0.02)


def test_unknown_negatives_follow_right_behind_the_positives():
    targets = random_targets(0, (3, 1), spare=0)
    queries = ContrastiveDenoising(groups=2, unknown_negatives=True)(targets, CLASSES)
    assert queries.known.tolist() == [[True] * 12, [True, True, False, False, False, False] * 2]
    assert queries.positive[1].tolist() == [True, False, False, False, False, False] * 2
    assert (queries.labels[queries.known & ~queries.positive] == CLASSES).all()
    assert torch.equal(queries.matches().ignored, ~queries.known)


@pytest.mark.parametrize(
    ("queries", "most", "groups"), [(100, 7, 14), (100, 300, 1), (100, 0, 1), (5, 7, 10), (0, 3, 1)]
)
def test_the_number_of_groups_is_dinos(queries, most, groups):
    targets = random_targets(0, (most, 0), spare=0)
    assert ContrastiveDenoising(queries)(targets, CLASSES).groups == groups


@pytest.mark.parametrize(
    ("kind", "arguments", "sentence"),
    [
        ("dn", {"groups": 1.5}, "groups: expected a whole number of at least 1, got 1.5"),
        ("dn", {"groups": 0}, "groups: expected a whole number of at least 1, got 0"),
        ("dn", {"label_noise": 1.5}, "label_noise: expected a share from 0 to 1, got 1.5"),
        ("dn", {"box_noise": -1}, "box_noise: expected 0 or more, got -1"),
        ("cdn", {"queries": -1}, "queries: expected a whole number of at least 0, got -1"),
        ("cdn", {"max_queries": 1}, "max_queries: expected a whole number of at least 2, got 1"),
        ("cdn", {"far": "second_half"}, "far: expected negatives or none without unknown_negatives, got 'second_half'"),
    ],
)
def test_numbers_out_of_range_are_refused(kind, arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        DENOISINGS.build({"type": kind, **arguments})


@kinds
@pytest.mark.parametrize("preset", ["detr", "hungarian"])
def test_every_layer_of_denoising_queries_has_a_loss_by_its_known_pairs(kind, preset):
    targets, layers = random_targets(0, (4, 2)), 3
    queries = made(kind, targets, seeded(0))
    assigner = build(preset, num_classes=CLASSES)
    generator = torch.Generator().manual_seed(0)
    shape = (layers * 2, queries.labels.shape[1])
    logits = torch.randn(*shape, CLASSES + assigner.score.background_column, generator=generator, requires_grad=True)
    boxes = (torch.rand(*shape, 4, generator=generator) * SIDE).requires_grad_()
    predictions = Predictions(logits, boxes, groups=layers)
    assignment, losses = assigner.assign_and_loss(predictions, targets.repeat(layers), queries.matches(layers))
    assert assignment.normalizers[2].tolist() == [6.0 * queries.groups] * layers
    assert all(value.shape == (layers,) for value in losses.values())
    sum(value.sum() for value in losses.values()).backward()
    touched = logits.grad.abs().sum(-1) > 0
    wanted = queries.known if not queries.padding_in_loss else torch.ones_like(queries.known)
    assert torch.equal(touched, wanted.repeat(layers, 1))
    assert torch.equal(boxes.grad.abs().sum(-1) > 0, queries.positive.repeat(layers, 1))


@kinds
def test_targets_without_a_query_are_told_apart(kind):
    """A cap leaves some objects of a crowded image without a query; they must not count in the loss's normaliser."""
    targets = random_targets(0, (60, 3), spare=2)
    queries = made(kind, targets, seeded(0), max_queries=40)
    found = queries.found(targets)
    name = kind if isinstance(kind, str) else kind["type"]
    assert found.mask.sum(1).tolist() == [40 if name == "dn" else 20, 3]
    matches = queries.matches()
    assert found.mask[matches.image, matches.target].all()
    free = made(kind, targets, seeded(0))
    assert torch.equal(free.found(targets).mask, targets.mask)

"""What must not change an assignment: the order of things, padding, where the image lies and how large it is."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.random_batches import answer, built, every_spec, law, order_free, random_batch

seeds = st.integers(0, 10_000)
counts = st.tuples(st.integers(0, 5), st.integers(1, 5))
specs = pytest.mark.parametrize("spec", every_spec())


def check(got, wanted):
    for ours, theirs in zip(got, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def shuffle(seed, length):
    return torch.randperm(length, generator=torch.Generator().manual_seed(seed))


def reordered(targets, order):
    parts = {name: getattr(targets, name)[:, order] for name in ("boxes", "labels", "mask")}
    return replace(targets, **parts)


@specs
@given(seed=seeds, counts=counts)
@law
def test_permuting_targets_permutes_the_pairs_and_changes_no_loss(spec, seed, counts):
    assigner = built(spec)
    predictions, targets = random_batch(assigner, seed, counts)
    order = shuffle(seed, targets.mask.shape[1])
    table, negative, losses = answer(assigner, predictions, targets)
    got = answer(assigner, predictions, reordered(targets, order))
    if order_free(assigner):
        check(got, (table[:, :, order], negative, losses))
    else:  # the pairs and their weights still follow; what the last target overwrites does not
        check(got[:1], (table[:, :, order],))


@specs
@given(seed=seeds, counts=counts)
@law
def test_permuting_images_permutes_the_answer(spec, seed, counts):
    assigner = built(spec)
    predictions, targets = random_batch(assigner, seed, counts)
    table, negative, losses = answer(assigner, predictions, targets)
    parts = {name: getattr(predictions, name).flip(0) for name in ("logits", "boxes", "objectness")}
    flipped = {name: getattr(targets, name).flip(0) for name in ("boxes", "labels", "mask", "sizes")}
    flipped = replace(targets, **flipped)
    check(answer(assigner, replace(predictions, **parts), flipped), (table.flip(0), negative.flip(0), losses))


def permuted_within_levels(predictions, seed):
    starts = [sum(predictions.level_sizes[:level]) for level in range(len(predictions.level_sizes))]
    order = torch.cat(
        [shuffle(seed, size) + start for size, start in zip(predictions.level_sizes, starts, strict=True)]
    )
    per_image = {name: getattr(predictions, name)[:, order] for name in ("logits", "boxes", "objectness")}
    return order, replace(
        predictions, **per_image, points=predictions.points[order], strides=predictions.strides[order]
    )


@specs
@given(seed=seeds, counts=counts)
@law
def test_permuting_samples_within_a_level_permutes_the_answer(spec, seed, counts):
    assigner = built(spec)
    predictions, targets = random_batch(assigner, seed, counts)
    table, negative, losses = answer(assigner, predictions, targets)
    order, permuted = permuted_within_levels(predictions, seed)
    check(answer(assigner, permuted, targets), (table[:, order], negative[:, order], losses))


def with_padding(targets, seed, anywhere):
    """Padding of every unpleasant kind behind the targets, or anywhere among them; returns where the old ones went."""
    images, places = targets.mask.shape
    garbage = torch.tensor(
        [[5.0, 5.0, 60.0, 60.0], [30.0, 30.0, 10.0, 10.0], [torch.nan] * 4, [0.0, 0.0, 0.0, torch.inf]]
    )
    boxes = torch.cat([targets.boxes, garbage.expand(images, -1, -1)], 1)
    labels = torch.cat([targets.labels, torch.tensor([0, -1, 99, 1]).expand(images, -1)], 1)
    mask = torch.cat([targets.mask, torch.zeros(images, 4, dtype=torch.bool)], 1)
    order = shuffle(seed, places + 4) if anywhere else torch.arange(places + 4)
    keep = order < places
    places_of_old = keep.nonzero()[:, 0][order[keep].argsort()]
    return reordered(replace(targets, boxes=boxes, labels=labels, mask=mask), order), places_of_old


@specs
@given(seed=seeds, counts=counts)
@law
def test_padding_targets_changes_nothing(spec, seed, counts):
    assigner = built(spec)
    predictions, targets = random_batch(assigner, seed, counts)
    padded, places = with_padding(targets, seed, anywhere=order_free(assigner))
    table, negative, losses = answer(assigner, predictions, padded)
    assert table.sum((0, 1, 3)).count_nonzero() <= targets.mask.any(0).sum()
    check((table[:, :, places], negative, losses), answer(assigner, predictions, targets))


@specs
@given(seed=seeds, counts=counts, shift=st.tuples(st.integers(-64, 64), st.integers(-64, 64)))
@law
def test_translating_everything_changes_nothing(spec, seed, counts, shift):
    assigner = built(spec)
    predictions, targets = random_batch(assigner, seed, counts)
    by = torch.tensor(shift, dtype=torch.float32)
    moved = replace(predictions, boxes=predictions.boxes + by.repeat(2), points=predictions.points + by)
    moved_targets = replace(targets, boxes=targets.boxes + by.repeat(2))
    check(answer(assigner, moved, moved_targets), answer(assigner, predictions, targets))


@specs
@given(seed=seeds, counts=counts, factor=st.sampled_from([0.5, 2.0, 8.0]))
@law
def test_scaling_everything_changes_nothing_where_the_matching_says_so(spec, seed, counts, factor):
    assigner = built(spec)
    predictions, targets = random_batch(assigner, seed, counts)
    scaled = replace(
        predictions,
        boxes=predictions.boxes * factor,
        points=predictions.points * factor,
        strides=predictions.strides * factor,
    )
    scaled_targets = replace(targets, boxes=targets.boxes * factor, sizes=targets.sizes * factor)
    got = answer(assigner, scaled, scaled_targets)
    if getattr(assigner.matching, "scale_invariant", True):
        check(got, answer(assigner, predictions, targets))
    else:
        assert all(part.isfinite().all() for part in got)


@specs
@given(seed=seeds)
@law
def test_an_image_gets_the_same_pairs_in_any_batch(spec, seed):
    assigner = built(spec)
    predictions, targets = random_batch(assigner, seed, (3, 2))
    table = answer(assigner, predictions, targets)[0]
    alone = {name: getattr(predictions, name)[:1] for name in ("logits", "boxes", "objectness")}
    first = {name: getattr(targets, name)[:1] for name in ("boxes", "labels", "mask", "sizes")}
    check(answer(assigner, replace(predictions, **alone), replace(targets, **first))[:1], (table[:1],))


@specs
@given(seed=seeds, count=st.integers(0, 5))
@law
def test_a_sample_that_is_not_valid_might_as_well_not_exist(spec, seed, count):
    assigner = built(spec)
    predictions, targets = random_batch(assigner, seed, (count,))
    valid = torch.rand(predictions.logits.shape[:2], generator=torch.Generator().manual_seed(seed)) < 0.7
    valid[0, [0, predictions.level_sizes[0]]] = True  # every level keeps a sample
    keep = valid[0]
    sizes = tuple(int(part.sum()) for part in keep.split(predictions.level_sizes))
    per_image = {name: getattr(predictions, name)[:, keep] for name in ("logits", "boxes", "objectness")}
    fewer = replace(
        predictions, **per_image, points=predictions.points[keep], strides=predictions.strides[keep], level_sizes=sizes
    )
    table, negative, losses = answer(assigner, replace(predictions, valid=valid), targets)
    assert table[:, ~keep].count_nonzero() == 0
    assert negative[:, ~keep].count_nonzero() == 0
    check((table[:, keep], negative[:, keep], losses), answer(assigner, fewer, targets))


@specs
@given(seed=seeds, counts=st.lists(counts, min_size=1, max_size=3))
@law
def test_stacked_batches_are_answered_and_summed_one_by_one(spec, seed, counts):
    assigner = built(spec)
    batches = [random_batch(assigner, seed + place, each) for place, each in enumerate(counts)]
    room = max(targets.mask.shape[1] for _, targets in batches)
    parts = [answer(assigner, predictions, targets) for predictions, targets in batches]

    stacked = {n: torch.cat([getattr(p, n) for p, _ in batches]) for n in ("logits", "boxes", "objectness")}
    predictions = replace(batches[0][0], **stacked, groups=len(batches))
    targets = replace(
        batches[0][1],
        **{
            name: torch.cat([with_room(getattr(t, name), room) for _, t in batches])
            for name in ("boxes", "labels", "mask")
        },
        sizes=torch.cat([t.sizes for _, t in batches]),
    )
    table, negative, losses = answer(assigner, predictions, targets)
    tables = [with_room(part[0].transpose(1, 2), room).transpose(1, 2) for part in parts]
    check((table, negative), (torch.cat(tables), torch.cat([part[1] for part in parts])))
    check((losses,), (torch.stack([part[2] for part in parts], 1),))


def with_room(values, room):
    """Values (B, M, ...) with zeros up to `room` targets."""
    return torch.cat([values, values.new_zeros(len(values), room - values.shape[1], *values.shape[2:])], 1)

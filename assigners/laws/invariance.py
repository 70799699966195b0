"""What must not change an assignment: the order of things, padding, company, where the image lies and how large it is."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from .. import Predictions, Targets
from ..losses import box_terms as all_box_terms
from ..needs import required
from .batches import answer, images, learned, objects, random_batch, samples, weighs_batches
from .law import Make, alike, law, require


def counts_of(seed: int) -> tuple[int, int]:
    """How many objects two images hold; the first may have none."""
    draw = random.Random(seed)
    return draw.randint(0, 5), draw.randint(1, 5)


def shuffle(seed: int, length: int) -> Tensor:
    return torch.randperm(length, generator=torch.Generator().manual_seed(seed))


def order_free(*parts: Any) -> bool:
    """Whether the order of targets must not matter: not where a conflict goes, by choice, to the last of the list."""
    return all(getattr(part, "conflict", None) != "last" for part in parts)


@law
def objects_in_any_order(make: Make, seed: int) -> None:
    """The order of an image's objects changes the order of the answer and nothing else."""
    assigner = make()
    predictions, targets = random_batch(assigner, seed, counts_of(seed))
    order = shuffle(seed, targets.mask.shape[1])
    table, negative, losses = answer(assigner, predictions, targets)
    got = answer(assigner, predictions, objects(targets, order))
    if order_free(assigner.matching, assigner.weighting):
        alike(got, (table[:, :, order], negative, losses), "another order of objects changes the answer")
    elif order_free(
        assigner.matching
    ):  # the pairs and their weights still follow; what the last target overwrites does not
        alike(got[:1], (table[:, :, order],), "another order of objects changes the pairs")
    else:  # the samples that are anybody's still follow; whose a contested one is does not
        matched = [part[..., 0].amax(2) for part in (got[0], table)]
        alike(matched[:1], matched[1:], "another order of objects changes which samples are matched")


@law
def images_in_any_order(make: Make, seed: int) -> None:
    """The order of a batch's images changes the order of the answer and nothing else."""
    assigner = make()
    predictions, targets = random_batch(assigner, seed, counts_of(seed))
    table, negative, losses = answer(assigner, predictions, targets)
    got = answer(assigner, images(predictions, [1, 0]), images(targets, [1, 0]))
    alike(got, (table.flip(0), negative.flip(0), losses), "another order of images changes the answer")


@law
def samples_in_any_order(make: Make, seed: int) -> None:
    """The order of a level's samples changes the order of the answer and nothing else."""
    assigner = make()
    predictions, targets = random_batch(assigner, seed, counts_of(seed))
    table, negative, losses = answer(assigner, predictions, targets)
    sizes = required("level_sizes", predictions.level_sizes)
    starts = [sum(sizes[:level]) for level in range(len(sizes))]
    order = torch.cat([shuffle(seed, n) + start for n, start in zip(sizes, starts, strict=True)])
    got = answer(assigner, samples(predictions, order), targets)
    alike(got, (table[:, order], negative[:, order], losses), "another order of samples changes the answer")


@law
def padding_changes_nothing(make: Make, seed: int) -> None:
    """Places without an object, whatever their boxes and labels hold, change nothing."""
    assigner = make()
    predictions, targets = random_batch(assigner, seed, counts_of(seed))
    padded, places = _with_padding(targets, seed, anywhere=order_free(assigner.matching, assigner.weighting))
    table, negative, losses = answer(assigner, predictions, padded)
    empty = [place for place in range(padded.mask.shape[1]) if place not in places.tolist()]
    require(not table[:, :, empty].count_nonzero(), "a place without an object has a sample")
    alike((table[:, :, places], negative, losses), answer(assigner, predictions, targets), "padding changes the answer")


def _with_padding(targets: Targets, seed: int, anywhere: bool) -> tuple[Targets, Tensor]:
    """Padding of every unpleasant kind behind the targets, or anywhere among them; and where the old ones went."""
    count, places = targets.mask.shape
    garbage = [[5.0, 5.0, 60.0, 60.0], [30.0, 30.0, 10.0, 10.0], [torch.nan] * 4, [0.0, 0.0, 0.0, torch.inf]]
    boxes = torch.cat([targets.boxes, torch.tensor(garbage).expand(count, -1, -1)], 1)
    labels = torch.cat([targets.labels, torch.tensor([0, -1, 99, 1]).expand(count, -1)], 1)
    mask = torch.cat([targets.mask, torch.zeros(count, 4, dtype=torch.bool)], 1)
    order = shuffle(seed, places + 4) if anywhere else torch.arange(places + 4)
    return objects(replace(targets, boxes=boxes, labels=labels, mask=mask), order), order.argsort()[:places]


@law
def translation_changes_nothing(make: Make, seed: int) -> None:
    """Moving samples, predicted boxes and objects together changes nothing."""
    assigner, draw = make(), random.Random(seed)
    predictions, targets = random_batch(assigner, seed, counts_of(seed))
    by = torch.tensor([draw.randint(-64, 64), draw.randint(-64, 64)], dtype=torch.float)
    moved = _geometry(
        predictions, lambda tensor: tensor + by.repeat(tensor.shape[-1] // 2), ("boxes", "points", "priors")
    )
    got = answer(assigner, moved, replace(targets, boxes=targets.boxes + by.repeat(2)))
    alike(got, answer(assigner, predictions, targets), "moving everything changes the answer")


@law
def scale_changes_nothing_where_claimed(make: Make, seed: int) -> None:
    """Enlarging samples, strides, boxes and images together changes nothing, unless a part denies to be scale_invariant."""
    assigner, factor = make(), random.Random(seed).choice([0.5, 2.0, 8.0])
    predictions, targets = random_batch(assigner, seed, counts_of(seed))
    scaled = _geometry(predictions, lambda tensor: tensor * factor, ("boxes", "points", "strides", "priors"))
    sizes = required("sizes", targets.sizes) * factor
    got = answer(assigner, scaled, replace(targets, boxes=targets.boxes * factor, sizes=sizes))
    parts = assigner.matching, assigner.weighting, *(term.part for term in all_box_terms(assigner.box_loss).values())
    if all(getattr(part, "scale_invariant", True) for part in parts):
        alike(got, answer(assigner, predictions, targets), f"enlarging everything {factor} times changes the answer")
    else:
        require(
            all(part.isfinite().all() for part in got), f"enlarging {factor} times gives numbers that are not finite"
        )


def _geometry(predictions: Predictions, change, names: tuple[str, ...]) -> Predictions:
    parts = {name: getattr(predictions, name) for name in names}
    return replace(predictions, **{name: change(part) for name, part in parts.items() if part is not None})


@law
def company_changes_no_weight(make: Make, seed: int) -> None:
    """An image has the same pairs and weights in any batch; only normalisers see its company, unless a weighting says more."""
    assigner = make()
    predictions, targets = random_batch(assigner, seed, (3, 2))
    table, negative, _ = answer(assigner, predictions, targets)
    alone = answer(assigner, images(predictions, [0]), images(targets, [0]))
    if weighs_batches(assigner):
        alike((alone[0][..., 0],), (table[:1, ..., 0],), "an image alone has other pairs than in a batch")
    else:
        alike(alone[:2], (table[:1], negative[:1]), "an image alone has another answer than in a batch")


@law
def geometry_of_every_image_equals_that_of_all(make: Make, seed: int) -> None:
    """Points, strides and priors for all images, or each image's own, give the same answer."""
    assigner = make()
    predictions, targets = random_batch(assigner, seed, counts_of(seed))
    shared = {name: getattr(predictions, name) for name in ("points", "strides", "priors")}
    own = {name: tensor.expand(2, *tensor.shape) for name, tensor in shared.items() if tensor is not None}
    got = answer(assigner, replace(predictions, **own), targets)
    alike(got, answer(assigner, predictions, targets), "geometry of every image changes the answer")


@law
def invalid_samples_do_not_exist(make: Make, seed: int) -> None:
    """A sample outside its image might as well not be there."""
    assigner = make()
    predictions, targets = random_batch(assigner, seed, (random.Random(seed).randint(0, 5),))
    valid = torch.rand(predictions.logits.shape[:2], generator=torch.Generator().manual_seed(seed)) < 0.7
    levels = required("level_sizes", predictions.level_sizes)
    valid[0, [0, levels[0]]] = True  # every level keeps a sample
    keep = valid[0]
    sizes = tuple(int(part.sum()) for part in keep.split(levels))
    table, negative, losses = answer(assigner, replace(predictions, valid=valid), targets)
    require(not table[:, ~keep].count_nonzero(), "a sample that is not valid is matched")
    require(not negative[:, ~keep].count_nonzero(), "a sample that is not valid is pushed down")
    wanted = answer(assigner, samples(predictions, keep, sizes), targets)
    alike((table[:, keep], negative[:, keep], losses), wanted, "a sample that is not valid changes the answer")


@law
def stacked_batches_are_answered_one_by_one(make: Make, seed: int) -> None:
    """Stacked batches have the answers, and the losses, that each has alone, unless a part says that it looks at them all."""
    assigner = make()
    batches = [random_batch(assigner, seed + place, counts_of(seed + place)) for place in range(3)]
    room = max(targets.mask.shape[1] for _, targets in batches)
    parts = [answer(assigner, predictions, targets) for predictions, targets in batches]
    stacked = {name: torch.cat([getattr(p, name) for p, _ in batches]) for name in learned(batches[0][0])}
    predictions = replace(batches[0][0], **stacked, groups=len(batches))
    fields = {n: torch.cat([_with_room(getattr(t, n), room) for _, t in batches]) for n in ("boxes", "labels", "mask")}
    targets = replace(batches[0][1], **fields, sizes=torch.cat([required("sizes", t.sizes) for _, t in batches]))
    table, negative, losses = answer(assigner, predictions, targets)
    tables = torch.cat([_with_room(part[0].transpose(1, 2), room).transpose(1, 2) for part in parts])
    if getattr(assigner.matching, "across_layers", False):
        require(table.isfinite().all() and losses.isfinite().all(), "stacked batches give numbers that are not finite")
        return
    if weighs_batches(assigner):
        alike((table[..., 0],), (tables[..., 0],), "stacked batches have other pairs")
        return
    alike((table, negative), (tables, torch.cat([part[1] for part in parts])), "stacked batches have another answer")
    alike((losses,), (torch.stack([part[2] for part in parts], 1),), "stacked batches have another loss")


def _with_room(values: Tensor, room: int) -> Tensor:
    """Values (B, M, ...) with zeros up to `room` targets."""
    return torch.cat([values, values.new_zeros(len(values), room - values.shape[1], *values.shape[2:])], 1)

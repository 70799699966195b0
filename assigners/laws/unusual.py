"""Batches that no example shows and every training meets: nothing there, too much there, boxes and scores at their limits."""

from __future__ import annotations

import random
from dataclasses import replace

import torch
from torch import Tensor

from .. import Assigner, Assignment, Predictions, Targets
from ..needs import required
from .batches import (
    SIDE,
    answer,
    background_by_branch,
    background_loss,
    box_terms,
    connected,
    leaves,
    pushed_down,
    random_batch,
    total,
)
from .law import Make, law, require

SPIKE = 10.0  # times the loss of a usual batch
CROWD = 5000  # objects in an image of 80 samples
PRIOR_LOGIT = -4.6  # of a class that a new head gives everything: P = 0.01
ODD_BOXES = {
    "a point": [20.0, 20.0, 20.0, 20.0],
    "a point under a sample": [4.0, 4.0, 4.0, 4.0],
    "no width": [20.0, 10.0, 20.0, 40.0],
    "outside the image": [200.0, 200.0, 260.0, 240.0],
    "left of the image": [-90.0, 10.0, -30.0, 50.0],
    "partly outside": [-30.0, -30.0, 30.0, 30.0],
    "much larger than the image": [-1e4, -1e4, 1e4, 1e4],
    "smaller than any cell": [3.9, 3.9, 4.1, 4.1],
    "between the samples": [6.0, 6.0, 9.0, 9.0],
    "the whole image": [0.0, 0.0, SIDE, SIDE],
}
NOTHING_INSIDE = ("a point", "no width", "outside the image")


def check_sound(
    assigner: Assigner, predictions: Predictions, targets: Targets, given: str = "a batch"
) -> tuple[Assignment, dict[str, Tensor]]:
    """Weights finite and not negative, pairs real, losses and gradients finite, or the law is broken."""
    predictions = leaves(predictions)
    assignment, losses = assigner.assign_and_loss(predictions, targets)
    for name in ("positive", "negative", "box", "normalizers"):
        weights = getattr(assignment, name)
        require(weights.isfinite().all(), f"{given}: {name} is not finite")
        require((weights >= 0).all(), f"{given}: {name} is negative")
    matches = assignment.matches
    require(targets.mask[matches.image, matches.target].all(), f"{given}: a place without an object is matched")
    for name, value in losses.items():
        require(value.isfinite().all(), f"{given}: {name} is not finite")
    check_gradients(assigner, predictions, losses, given)
    return assignment, losses


def check_gradients(assigner: Assigner, predictions: Predictions, losses: dict[str, Tensor], given: str) -> None:
    """The loss reaches every prediction that it is to reach, with a gradient that is finite, or the law is broken."""
    total(losses).backward()
    for name in connected(assigner):
        gradient = getattr(predictions, name).grad
        require(gradient is not None, f"{given}: the loss does not reach {name}")
        require(gradient.isfinite().all(), f"{given}: the gradient of {name} is not finite")


@law
def objects_are_learned(make: Make, seed: int) -> None:
    """A usual batch has pairs, and some of them pull at classes and at boxes."""
    assigner = make()
    assignment, _ = check_sound(assigner, *random_batch(assigner, seed, (4,) * 16))
    require(len(assignment.matches.image) > 0, "no pair for 64 objects")
    require((assignment.positive > 0).any(), "no pair pulls at a class")
    require((assignment.box > 0).any(), "no pair pulls at a box")


@law
def an_empty_image_only_pushes_down(make: Make, seed: int) -> None:
    """An image without objects has no pairs, and all its samples are pushed down."""
    assigner = make()
    batch = random_batch(assigner, seed, (0, random.Random(seed).randint(1, 5)))
    assignment, losses = check_sound(assigner, *batch, "an empty image")
    require((assignment.matches.image == 1).all(), "an empty image has pairs")
    if background_by_branch(assigner):
        require(background_loss(assigner, assignment, losses) > 0, "a sample of an empty image is not pushed down")
    else:
        require((pushed_down(assignment)[0] > 0).all(), "a sample of an empty image is not pushed down")


@law
def a_batch_without_objects_reaches_every_prediction(make: Make, seed: int) -> None:
    """A batch without any object has a finite loss, none of boxes, and a gradient for every prediction."""
    assigner, draw = make(), random.Random(seed)
    predictions, targets = random_batch(assigner, seed, (0,) * draw.randint(1, 3), spare=draw.randint(0, 2))
    predictions = leaves(predictions)
    assignment, losses = assigner.assign_and_loss(predictions, targets)
    require(not len(assignment.positive), "there are pairs without objects")
    require(box_terms(assigner, losses) == 0, "there is a loss of boxes without objects")
    require(background_loss(assigner, assignment, losses) > 0, "nothing is pushed down")
    check_gradients(assigner, predictions, losses, "a batch without objects")
    taught = "objectness" if background_by_branch(assigner) else "logits"
    learns = {name: bool(getattr(predictions, name).grad.count_nonzero()) for name in ("boxes", taught)}
    require(not learns["boxes"], "boxes learn without objects")
    require(learns[taught], "logits do not learn without objects")


@law
def a_batch_without_objects_is_no_spike(make: Make, seed: int) -> str:
    """With a new head's scores, a batch without objects has at most 10 times the loss of one with objects."""
    assigner = make()
    predictions, targets = random_batch(assigner, seed, (4,) * 16)
    columns = torch.full(predictions.logits.shape[-1:], PRIOR_LOGIT)
    if assigner.score.background_column:
        columns[-1] = 0.0
    fresh = replace(predictions, logits=columns.expand_as(predictions.logits))
    if background_by_branch(assigner):
        fresh = replace(fresh, objectness=torch.full_like(predictions.logits[..., 0], PRIOR_LOGIT))
    new, random_ones = (_empty_ratio(make, given, targets) for given in (fresh, predictions))
    require(new <= SPIKE, f"without objects the loss is {new:.3g} times that with objects")
    return f"{new:.2g} times with a new head's scores, {random_ones:.2g} with random ones"


def _empty_ratio(make: Make, predictions: Predictions, targets: Targets) -> float:
    """The loss of a batch as if it had no objects, as a multiple of what it is."""
    empty = replace(targets, mask=torch.zeros_like(targets.mask))
    without, usual = (float(total(make().loss(predictions, given)).detach()) for given in (empty, targets))
    return without / usual


@law
def crowds_are_no_trouble(make: Make, seed: int) -> None:
    """More objects than samples, and thousands of them, have a defined answer."""
    assigner = make()
    for count in (100, CROWD if seed == 0 else 200):
        predictions, targets = random_batch(assigner, seed, (count,))
        require(count > predictions.logits.shape[1], "the crowd is none")
        check_sound(assigner, predictions, targets, f"{count} objects")


@law
def duplicates_are_defined(make: Make, seed: int) -> None:
    """Objects with the same box, of one class or of two, have a defined answer."""
    assigner = make()
    predictions, targets = random_batch(assigner, seed, (random.Random(seed).randint(1, 3),))
    parts = {name: torch.cat([getattr(targets, name)] * 2, 1) for name in ("boxes", "labels", "mask")}
    twice, classes = replace(targets, **parts), predictions.logits.shape[-1] - assigner.score.background_column
    check_sound(assigner, predictions, twice, "duplicates")
    other = torch.cat([targets.labels, (targets.labels + 1) % classes], 1)
    check_sound(assigner, predictions, replace(twice, labels=other), "duplicates of two classes")


@law
def odd_objects_are_defined(make: Make, seed: int) -> None:
    """Boxes without area, outside the image, far too large or missed by all samples have a defined answer."""
    assigner = make()
    for kind, box in ODD_BOXES.items():
        predictions, targets = random_batch(assigner, seed, (3, 2))
        targets.boxes[0, 1] = torch.tensor(box)
        check_sound(assigner, predictions, targets, kind)
        alone = {"boxes": targets.boxes[:, 1:2], "labels": targets.labels[:, 1:2]}
        alone["mask"] = torch.tensor([[True], [False]])
        check_sound(assigner, predictions, replace(targets, **alone), f"{kind}, alone")


@law
def an_object_without_candidates_takes_no_sample(make: Make, seed: int) -> None:
    """A box that holds no part of the image takes no sample from another object, unless the matching says that it may."""
    assigner = make()
    for kind in NOTHING_INSIDE:
        predictions, targets = random_batch(assigner, seed, (3,))
        table = answer(assigner, predictions, targets)[0]
        targets.boxes[0, 3], targets.mask[0, 3] = torch.tensor(ODD_BOXES[kind]), True
        check_undisturbed(assigner, table, answer(assigner, predictions, targets)[0], kind)


def check_undisturbed(assigner: Assigner, table: Tensor, with_odd_one: Tensor, kind: str) -> None:
    """The first three objects keep their samples; one to one, each has one, whatever the fourth is.

    A matching in which objects weigh on one another's choice says so (`moves_others`) and is not held to it; a one-to-one
    matching in which an object may be left without a sample says so (`serves_all`), and there the three keep theirs.
    """
    if getattr(assigner.matching, "moves_others", False):
        return
    if assigner.cardinality == "one-to-one" and getattr(assigner.matching, "serves_all", True):
        require((with_odd_one[..., 0].sum(1)[:, :3] == 1).all(), f"beside {kind} an object has not one sample")
    else:
        kept = torch.equal(with_odd_one[:, :, :3, 0], table[:, :, :3, 0])
        require(kept, f"{kind} takes a sample from another object")


@law
def odd_predicted_boxes_are_defined(make: Make, seed: int) -> None:
    """Predicted boxes without area, inside out, or far away have a defined answer."""
    assigner = make()
    inside_out = {"inside out": [40.0, 40.0, 10.0, 10.0], "inverted in one direction": [40.0, 10.0, 10.0, 40.0]}
    for kind, box in {**ODD_BOXES, **inside_out}.items():
        predictions, targets = random_batch(assigner, seed, (3, 2))
        predictions.boxes[:, ::3] = torch.tensor(box)
        check_sound(assigner, predictions, targets, f"predicted: {kind}")


@law
def saturated_logits_are_defined(make: Make, seed: int) -> None:
    """Logits of any size have a finite loss and a finite gradient."""
    assigner = make()
    for logit in (-120.0, -88.0, 88.0, 120.0, 1e4):
        predictions, targets = random_batch(assigner, seed, (3, 2))
        predictions.logits[:, ::2] = logit
        required("objectness", predictions.objectness)[:, ::3] = logit
        check_sound(assigner, predictions, targets, f"logits of {logit:g}")

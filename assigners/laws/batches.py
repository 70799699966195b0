"""Small random batches for any assigner, and what it answers on them."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from functools import reduce
from operator import add
from typing import Any

import torch
from torch import Tensor

from .. import Assigner, Assignment, Predictions, Targets
from ..boxes import squares

CLASSES = 3  # where the assigner does not say
SIDE = 64  # pixels of the square image
STRIDES = (8, 16)
BINS = 8  # of distributions of distances
LEARNED = ("logits", "boxes", "objectness", "distribution")  # what a head predicts


def classes_of(assigner: Assigner) -> int:
    """C of the batches for an assigner."""
    return assigner.num_classes or CLASSES


def grid(sizes: Sequence[tuple[int, int]], strides: Sequence[int]) -> tuple[Tensor, Tensor, tuple[int, ...]]:
    """Points (N, 2), strides (N,) and level sizes of feature maps (rows, columns)."""
    points, stride_of = [], []
    for (height, width), stride in zip(sizes, strides, strict=True):
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        points.append((torch.stack([x, y], -1).reshape(-1, 2) + 0.5) * float(stride))
        stride_of.append(torch.full((height * width,), float(stride)))
    return torch.cat(points), torch.cat(stride_of), tuple(len(p) for p in points)


def generator_of(seed: int) -> torch.Generator:
    """Random numbers of a seed."""
    return torch.Generator().manual_seed(seed)


def rounded(values: Tensor) -> Tensor:
    """Multiples of 1/1024: sums and shifts of such pixels are exact in float32."""
    return (values * 1024).round() / 1024


def random_boxes(generator: torch.Generator, *shape: int, smallest: float = 6.0, largest: float = 56.0) -> Tensor:
    """(*shape, 4) xyxy boxes inside the image, log-uniform sides."""
    ratio = torch.rand(*shape, 2, generator=generator)
    sides = smallest * (largest / smallest) ** ratio
    corner = torch.rand(*shape, 2, generator=generator) * (SIDE - sides)
    return rounded(torch.cat([corner, corner + sides], -1))


def random_targets(
    seed: int = 0, counts: Sequence[int] = (4, 2), spare: int = 1, num_classes: int = CLASSES
) -> Targets:
    """counts[i] targets in image i, and `spare` places of padding more than the largest count."""
    generator = generator_of(seed)
    images, places = len(counts), max(counts, default=0) + spare
    boxes = random_boxes(generator, images, places)
    labels = torch.randint(num_classes, (images, places), generator=generator)
    mask = torch.arange(places) < torch.tensor(counts)[:, None]
    sizes = torch.full((images, 2), float(SIDE))
    return Targets(boxes * mask[..., None], labels * mask, mask, sizes=sizes)


def random_predictions(assigner: Assigner, targets: Targets, seed: int = 0) -> Predictions:
    """Predictions of a head that is half right: each sample predicts some target's box, shaken, or a random one."""
    generator = generator_of(seed + 1)
    points, strides, sizes = grid([(SIDE // s, SIDE // s) for s in STRIDES], STRIDES)
    images, samples = len(targets.boxes), len(points)
    columns = classes_of(assigner) + assigner.score.background_column
    boxes = random_boxes(generator, images, samples)
    if targets.mask.any():
        places = targets.mask.float() + 1e-9
        chosen = torch.multinomial(places, samples, replacement=True, generator=generator)
        near = targets.boxes.gather(1, chosen[..., None].expand(-1, -1, 4))
        near = near + 3 * torch.randn(images, samples, 4, generator=generator)
        lucky = (torch.rand(images, samples, generator=generator) < 0.5) & targets.mask.any(1)[:, None]
        boxes = torch.where(lucky[..., None], rounded(near), boxes)
    logits = torch.randn(images, samples, columns, generator=generator)
    objectness = torch.randn(images, samples, generator=generator)
    priors = squares(points, 8 * strides) if "priors" in assigner.needs else None
    wants_bins = "distribution" in assigner.needs
    distribution = torch.randn(images, samples, 4, BINS, generator=generator) if wants_bins else None
    return Predictions(logits, boxes, objectness, points, strides, sizes, priors, distribution=distribution)


def random_batch(
    assigner: Assigner, seed: int = 0, counts: Sequence[int] = (4, 2), spare: int = 1
) -> tuple[Predictions, Targets]:
    """Predictions and targets that belong together."""
    targets = random_targets(seed, counts, spare, classes_of(assigner))
    return random_predictions(assigner, targets, seed), targets


def learned(predictions: Predictions) -> dict[str, Tensor]:
    """What a head predicts, of what is there."""
    found = {name: getattr(predictions, name) for name in LEARNED}
    return {name: tensor for name, tensor in found.items() if tensor is not None}


def images(structure: Any, index: Any) -> Any:
    """Predictions with geometry of all images, or targets, of the images that an index picks."""
    parts = learned(structure) if isinstance(structure, Predictions) else _tensors(structure)
    return replace(structure, **{name: tensor[index] for name, tensor in parts.items()})


def samples(predictions: Predictions, index: Tensor, level_sizes: tuple[int, ...] | None = None) -> Predictions:
    """The samples that an index picks, in its order."""
    parts: dict[str, Any] = {name: tensor[:, index] for name, tensor in learned(predictions).items()}
    for name in ("points", "strides", "priors"):
        tensor = getattr(predictions, name)
        parts[name] = None if tensor is None else tensor[index]
    return replace(predictions, **parts, level_sizes=level_sizes or predictions.level_sizes)


def objects(targets: Targets, order: Tensor) -> Targets:
    """The targets of every image in another order."""
    return replace(targets, **{name: getattr(targets, name)[:, order] for name in ("boxes", "labels", "mask")})


def leaves(predictions: Predictions) -> Predictions:
    """The same predictions as leaves of the graph."""
    parts = {name: tensor.detach().clone().requires_grad_() for name, tensor in learned(predictions).items()}
    return replace(predictions, **parts)


def connected(assigner: Assigner) -> list[str]:
    """Names of the predictions that the loss must reach."""
    own = {"objectness": assigner.score.uses_objectness, "distribution": "distribution" in assigner.needs}
    return ["logits", "boxes", *(name for name, reached in own.items() if reached)]


def total(losses: Mapping[str, Tensor]) -> Tensor:
    """The sum of all terms."""
    return reduce(add, losses.values())


def box_terms(assigner: Assigner, losses: dict[str, Tensor]) -> Tensor:
    """What the loss has of boxes, whatever its terms are called."""
    branch = None if assigner.branch is None else f"loss_{assigner.branch.name}"
    own = (value for name, value in losses.items() if not name.startswith("loss_cls") and name != branch)
    return sum(own, torch.zeros(()))


def background_loss(assigner: Assigner, assignment: Assignment, losses: dict[str, Tensor]) -> Tensor:
    """The term of the loss that samples without an object are in, which may be the second branch's."""
    if background_by_branch(assigner):
        return losses[f"loss_{assigner.branch.name}"]
    return losses["loss_cls_neg" if assignment.background is None else "loss_cls_pos"]


def background_by_branch(assigner: Assigner) -> bool:
    """Whether samples without an object are left to the second branch (YOLOX)."""
    return getattr(assigner.weighting, "background_by_branch", False)


def pushed_down(assignment: Assignment) -> Tensor:
    """How strongly every sample is pushed away from the classes, by w⁻ or towards a background."""
    return assignment.negative if assignment.background is None else assignment.background


def pair_table(assignment: Assignment, samples: int, targets: Targets) -> Tensor:
    """(B, N, M, 3): whether sample and target are a pair, its w⁺ and its w°."""
    matches = assignment.matches
    table = torch.zeros(*targets.mask.shape[:1], samples, targets.mask.shape[1], 3)
    values = torch.stack([torch.ones_like(assignment.positive), assignment.positive, assignment.box], -1)
    table[matches.image, matches.sample, matches.target] = values.detach().float()
    return table


def weighs_batches(assigner: Assigner) -> bool:
    """Whether weights depend on what the whole batch, and those before it, matched (DDOD's weights of levels)."""
    return getattr(assigner.weighting, "weighs_batches", False)


def answer(assigner: Assigner, predictions: Predictions, targets: Targets) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs with their weights (B, N, M, 3), w⁻ (B, N, C), and the terms of the loss as one tensor.

    An assigner whose weights depend on the batches that it saw is asked without learning from this one.
    """
    if weighs_batches(assigner):
        assigner = copy.deepcopy(assigner)
    assignment, losses = assigner.assign_and_loss(predictions, targets)
    table = pair_table(assignment, predictions.logits.shape[1], targets)
    return table, assignment.negative.detach(), torch.stack([losses[name] for name in sorted(losses)]).detach()


def _tensors(structure: Any) -> dict[str, Tensor]:
    found = {f.name: getattr(structure, f.name) for f in fields(structure)}
    return {name: value for name, value in found.items() if isinstance(value, Tensor)}

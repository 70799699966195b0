"""What a prediction that is not a number does, and that precision in is not precision lost."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor

from .. import Assigner, AssignmentWarning, Predictions, Targets
from ..needs import required
from .batches import answer, box_terms, learned, random_batch, total
from .law import Make, alike, law, require

HALF = (torch.float16, torch.bfloat16)


def spoiled(predictions: Predictions, name: str, value: float, seed: int, share: float = 0.2) -> Predictions:
    """A share of the entries of one prediction replaced by `value`."""
    tensor = getattr(predictions, name).clone()
    tensor[torch.rand(tensor.shape, generator=torch.Generator().manual_seed(seed)) < share] = value
    return replace(predictions, **{name: tensor})


def in_type(predictions: Predictions, dtype: torch.dtype) -> Predictions:
    """Predictions whose numbers are of another type."""
    parts = {**learned(predictions), "points": predictions.points, "strides": predictions.strides}
    if predictions.priors is not None:
        parts["priors"] = predictions.priors
    return replace(predictions, **{name: tensor.to(dtype) for name, tensor in parts.items()})


@contextmanager
def quiet() -> Iterator[None]:
    """Without the warning that costs are not finite, which broken predictions are to give."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AssignmentWarning)
        yield


@law
def weights_are_finite_whatever_is_predicted(make: Make, seed: int) -> None:
    """Weights and normalisers are finite and not negative, whatever number, or none, a prediction is."""
    assigner = make()
    predictions, targets = random_batch(assigner, seed)
    broken = predictions
    for name in learned(predictions):
        for value in (torch.nan, torch.inf, -torch.inf):
            _check_weights(assigner, spoiled(predictions, name, value, seed), targets, f"{name} of {value}")
        broken = spoiled(broken, name, torch.nan, seed, share=1.1)
    losses = _check_weights(assigner, broken, targets, "predictions that are no numbers at all")
    require(total(losses).isnan(), "predictions that are no numbers at all give a loss that is one")


def _check_weights(assigner: Assigner, predictions: Predictions, targets: Targets, given: str) -> dict[str, Tensor]:
    with quiet():
        assignment, losses = assigner.assign_and_loss(predictions, targets)
    for name in ("positive", "negative", "box", "normalizers"):
        weights = getattr(assignment, name)
        require(weights.isfinite().all(), f"{given}: {name} is not finite")
        require((weights >= 0).all(), f"{given}: {name} is negative")
    return losses


@law
def broken_logits_show_in_the_loss(make: Make, seed: int) -> None:
    """A logit that is not a number makes the loss one, so that a diverged run is noticed."""
    assigner = make()
    predictions, targets = random_batch(assigner, seed)
    with quiet():
        losses = assigner.loss(spoiled(predictions, "logits", torch.nan, seed), targets)
    require(total(losses).isnan(), "logits that are no numbers give a loss that is one")


@law
def broken_boxes_show_in_the_loss(make: Make, seed: int) -> None:
    """A matched box that is not a number makes the loss one, unless the matching no longer picks it."""
    assigner = make()
    predictions, targets = random_batch(assigner, seed)
    matches = assigner.match(predictions, targets)
    predictions.boxes[matches.image[:1], matches.sample[:1], 1] = torch.nan
    with quiet():
        assignment, losses = assigner.assign_and_loss(predictions, targets)
    still_matched = assignment.matches.predicted_boxes(predictions).isnan().any()
    require(
        box_terms(assigner, losses).isnan() == still_matched,
        "the loss of boxes does not show a matched box that is no number",
    )


@law
def a_broken_image_leaves_others_alone(make: Make, seed: int) -> None:
    """Predictions of one image that are no numbers change nothing of another's pairs and weights."""
    assigner = make()
    predictions, targets = random_batch(assigner, seed, (3, 3))
    table, negative, _ = answer(assigner, predictions, targets)
    for tensor in learned(predictions).values():
        tensor[0] = torch.nan
    with quiet():
        got = answer(assigner, predictions, targets)
    alike((got[0][1], got[1][1]), (table[1], negative[1]), "a broken image changes another's answer")


@law
def half_precision_equals_its_rounding(make: Make, seed: int) -> None:
    """float16 and bfloat16 are answered in float32, exactly as the numbers they hold would be."""
    assigner, dtype = make(), HALF[seed % 2]
    predictions, targets = random_batch(assigner, seed)
    half, half_targets = in_type(predictions, dtype), targets.to("cpu", dtype)
    got = answer(assigner, half, half_targets)
    wanted = answer(assigner, in_type(half, torch.float32), half_targets.to("cpu", torch.float32))
    require(all(part.dtype == torch.float32 for part in got), f"{dtype} in does not give float32 out")
    alike(got, wanted, f"{dtype} is answered otherwise than its numbers in float32", exact=True)


@law
def autocast_changes_nothing(make: Make, seed: int) -> None:
    """Under autocast everything is computed as without."""
    assigner, dtype = make(), HALF[seed % 2]
    predictions, targets = random_batch(assigner, seed)
    wanted = answer(assigner, predictions, targets)
    with torch.autocast("cpu", dtype):
        got = answer(assigner, predictions, targets)
        pairs = assigner.match(predictions, targets).sample, assigner(predictions, targets).matches.sample
    alike(got, wanted, f"autocast to {dtype} changes the answer", exact=True)
    alike(pairs[:1], pairs[1:], f"autocast to {dtype} changes the pairs", exact=True)


@law
def targets_of_any_type_are_taken(make: Make, seed: int) -> None:
    """Boxes may be whole numbers or float64, labels of any integer type."""
    assigner, dtype = make(), random.Random(seed).choice([torch.int64, torch.float64])
    predictions, targets = random_batch(assigner, seed)
    whole = replace(targets, boxes=targets.boxes.round(), labels=targets.labels.int())
    other = replace(
        whole, boxes=whole.boxes.to(dtype), labels=whole.labels.long(), sizes=required("sizes", whole.sizes).to(dtype)
    )
    got, wanted = answer(assigner, predictions, other), answer(assigner, predictions, whole)
    alike(got, wanted, f"boxes of {dtype} change the answer", exact=True)


@law
def double_precision_stays(make: Make, seed: int) -> None:
    """float64 in gives float64 out, near what float32 gives."""
    predictions, targets = random_batch(make(), seed)
    losses = make().double().loss(in_type(predictions, torch.float64), targets)
    single = make().loss(predictions, targets)
    for name, value in losses.items():
        require(value.dtype == torch.float64, f"{name} is {value.dtype}")
        close = torch.isclose(value.float(), single[name], rtol=1e-4, atol=1e-5)
        require(close.all(), f"{name} is {value.tolist()} in float64 and {single[name].tolist()} in float32")

"""Focal and quality focal weightings against mmdet's and torchvision's loss functions, in float64."""

import pytest
import torch
from support.golden import cases, golden_folder, missing

from detassign.assigners import Matches, Predictions, Sigmoid, SoftTarget, Targets, focal


def sum_of_loss(predictions, targets, matches, weighting):
    """The classification part, not normalised, per sample and class (B, N, C)."""
    scores = Sigmoid()(predictions)
    assignment = weighting(predictions, targets, matches, scores)
    labels = matches.labels(targets)
    loss = -assignment.negative * scores.log_absent
    return loss.index_put(
        (matches.image, matches.sample, labels),
        -assignment.positive * scores.log_present(matches, labels),
        accumulate=True,
    )


def one_target_per_sample(logits, labels):
    """Every sample with a label < C matched with a target of its own."""
    samples = (labels < logits.shape[1]).nonzero()[:, 0]
    boxes = torch.tensor([0.0, 0.0, 10.0, 10.0], dtype=logits.dtype).expand(len(samples), 4)
    targets = Targets.from_lists([boxes], [labels[samples]])
    predictions = Predictions(logits[None], boxes.new_tensor([0.0, 0.0, 10.0, 10.0]).expand(1, len(logits), 4))
    zero = torch.zeros_like(samples)
    return predictions, targets, Matches(zero, samples, torch.arange(len(samples)), torch.ones(len(samples)).to(logits))


def known(quality):
    """A soft target with the recorded qualities in place of IoUs."""
    return lambda predictions, targets, matches, scores: quality[matches.sample]


def recorded_losses(*kinds):
    """(case, name) of every recorded loss of logits that is of one of some types."""
    found = [p.values[0] for p in cases("dense", "op_cls_losses*") if p.values[0]]
    named = [(case, name, settings) for case in found for name, settings in case.config["losses"].items()]
    chosen = [(case, name) for case, name, s in named if s["type"] in kinds and not s.get("activated")]
    params = [pytest.param(case, name, id=f"{case.name}-{name}") for case, name in chosen]
    return params or missing(f"no {' or '.join(kinds)} in {golden_folder() / 'dense'}", arguments=2)


@pytest.mark.parametrize(("case", "name"), recorded_losses("FocalLoss", "QualityFocalLoss"))
def test_weighting_equals_mmdets_loss(case, name):
    settings = case.config["losses"][name]
    logits, labels = case.leaf("input/logits"), case.tensor("input/labels")
    if settings["type"] == "FocalLoss":
        weighting = focal(alpha=settings["alpha"], gamma=settings["gamma"])
    else:
        weighting = SoftTarget(known(case.tensor("input/quality")), gamma=settings["beta"])
    loss = sum_of_loss(*one_target_per_sample(logits, labels), weighting)[0]
    total = (loss * case.tensor("input/weight")[:, None]).sum() / case.config["avg_factor"]
    total = total * settings.get("loss_weight", 1.0)
    case.check(f"loss/{name}", total)
    total.backward()
    case.check(f"grad/{name}", logits.grad)


@pytest.mark.parametrize("case", cases("dense", "op_sigmoid_focal_loss_*"))
def test_weighting_equals_torchvisions_sigmoid_focal_loss(case):
    """The recorded targets are any 0/1 matrix: each of its ones is a pair with a target of that class."""
    logits, wanted = case.leaf("input/logits"), case.tensor("input/targets")
    if not ((wanted == 0) | (wanted == 1)).all():
        pytest.skip("soft targets: a focal weighting has one-hot targets")
    sample, label = wanted.nonzero(as_tuple=True)
    boxes = torch.zeros(len(sample), 4, dtype=logits.dtype)
    targets = Targets.from_lists([boxes], [label])
    predictions = Predictions(logits[None], torch.zeros(1, len(logits), 4, dtype=logits.dtype))
    matches = Matches(torch.zeros_like(sample), sample, torch.arange(len(sample)), torch.ones(len(sample)).to(logits))
    alpha = case.config["alpha"]
    weighting = focal(alpha=alpha if alpha is not None and alpha >= 0 else None, gamma=case.config["gamma"])
    loss = sum_of_loss(predictions, targets, matches, weighting)[0]
    if case.config["reduction"] != "none":
        loss = getattr(loss, case.config["reduction"])()
    case.check("output/loss", loss)
    (loss * case.tensor("input/upstream_grad")).sum().backward()
    case.check("grad/logits", logits.grad)

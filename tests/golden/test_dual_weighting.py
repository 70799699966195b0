"""DW against its own code: centre prior, weights, losses, gradients."""

import pytest
import torch
from support.dense import check_gradients, grid, hard_threshold_of, leaves, point_predictions, targets_of
from support.golden import cases

from detassign.assigners import Predictions, Targets, build
from detassign.assigners.matching import CenterPrior


@pytest.mark.parametrize("case", cases("dense", "dw_center_prior_*"))
def test_center_prior_equals_the_original(case):
    config = case.config
    points, strides, sizes = grid(config["featmap_sizes"], config["strides"], config["prior_offset"])
    case.check("intermediate/points", points)
    prior = CenterPrior(config["num_classes"], hard_threshold=hard_threshold_of(config))
    prior.load_state_dict(case.state_dict())
    targets = targets_of(case, 1)
    n = len(points)
    matches = prior(Predictions(torch.zeros(1, n, 1), torch.zeros(1, n, 4), None, points, strides, sizes), targets)

    dense = torch.zeros(n, targets.boxes.shape[1])
    dense[matches.sample, matches.target] = matches.score
    inside = torch.zeros(dense.shape, dtype=torch.bool)
    inside[matches.sample, matches.target] = True
    case.check("intermediate/inside_mask", inside)
    case.check("output/center_prior", dense)


def inputs_of_loss(case):
    """Predictions and targets, and the maps that they are made of."""
    maps = leaves(case, "cls_score", "bbox_pred", "objectness")
    predictions = point_predictions(case, *maps.values(), offset=case.config["prior_offset"])
    return predictions, targets_of(case, case.config["batch"]), maps


def original(case, conflict="last"):
    config = case.config
    assigner = build("dw_original", num_classes=config["num_classes"])
    assigner.weighting.conflict = conflict
    assigner.matching.hard_threshold = hard_threshold_of(config)
    state = {key.removeprefix("center_prior."): value for key, value in case.state_dict().items()}
    assigner.matching.load_state_dict(state)
    return assigner


def reversed_targets(targets: Targets) -> Targets:
    order = [list(range(int(m.sum())))[::-1] for m in targets.mask]
    return Targets.from_lists(
        [b[o] for b, o in zip(targets.boxes, order, strict=True)],
        [label[o] for label, o in zip(targets.labels, order, strict=True)],
    )


SATURATED = 16.0  # logits from which on 1 - sigmoid may be 0 in float32, and the original clamps its log
LOSS_NAMES = {"loss_cls_pos": "loss_cls_pos", "loss_box": "loss_loc", "loss_cls_neg": "loss_cls_neg"}


@pytest.mark.parametrize("case", cases("dense", "dw_loss_*"))
def test_losses_and_gradients_equal_the_original(case):
    predictions, targets, maps = inputs_of_loss(case)
    losses = original(case).loss(predictions, targets)
    for ours, theirs in LOSS_NAMES.items():
        case.check(f"loss/{theirs}", losses[ours])
    sum(losses.values()).backward()
    check_gradients(case, maps)


@pytest.mark.parametrize("case", cases("dense", "dw_loss_*"))
def test_every_weight_equals_the_original(case):
    predictions, targets, _ = inputs_of_loss(case)
    assigner = original(case)
    assignment = assigner(predictions, targets)
    matches, details = assignment.matches, assignment.details
    probability = assigner.score(predictions).probability
    for image in range(case.config["batch"]):
        count = int(targets.mask[image].sum())
        here = matches.image == image

        def dense(values, fill=0.0, here=here, count=count):
            table = torch.full((predictions.logits.shape[1], count), fill)
            table[matches.sample[here], matches.target[here]] = values[here].detach().float()
            return table

        folder = f"intermediate/{image}"
        case.check(f"{folder}/inside_mask", dense(torch.ones(len(here))) > 0)
        case.check(f"{folder}/center_prior", dense(matches.score))
        case.check(f"{folder}/iou", dense(details["iou"]))
        case.check(f"{folder}/p_pos", dense(details["fit"]))
        case.check(f"{folder}/pos_weight", dense(details["weight"]))
        case.check(f"{folder}/neg_metrics", dense(details["punishment"], fill=-1.0))
        case.check(f"{folder}/neg_weight", details["negative_share"][image])
        case.check(f"{folder}/neg_weight_times_conf2", details["negative_share"][image] * probability[image] ** 2)
        case.check(f"norm/{image}/neg_avg_factor", (1 - details["negative_share"][image]).sum())
    case.check("norm/pos_avg_factor", assignment.normalizers[0])
    case.check("norm/neg_avg_factor", assignment.normalizers[1])


@pytest.mark.parametrize("case", cases("dense", "dw_loss_*"))
def test_reversing_targets_changes_the_original_as_recorded_and_ours_not_at_all(case):
    if "reversed/loss_cls_neg" not in case:
        assert not any(key.startswith("reversed/") for key in case.arrays)
        return
    predictions, targets, _ = inputs_of_loss(case)
    flipped = original(case).loss(predictions, reversed_targets(targets))
    for ours, theirs in LOSS_NAMES.items():
        case.check(f"reversed/{theirs}", flipped[ours])
    forward = original(case, "min").loss(predictions, targets)
    backward = original(case, "min").loss(predictions, reversed_targets(targets))
    for name in forward:
        torch.testing.assert_close(forward[name], backward[name])


@pytest.mark.parametrize("case", cases("dense", "dw_loss_*"))
def test_log_space_equals_the_original_where_nothing_saturates(case):
    predictions, targets, _ = inputs_of_loss(case)
    if predictions.logits.abs().max() > SATURATED:
        losses = build("dw", num_classes=case.config["num_classes"]).loss(predictions, targets)
        assert all(value.isfinite() for value in losses.values())
        return
    assigner = original(case)
    assigner.score.space = "log"
    losses = assigner.loss(predictions, targets)
    for ours, theirs in LOSS_NAMES.items():
        case.check(f"loss/{theirs}", losses[ours])

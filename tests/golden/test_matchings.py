"""Max-IoU, ATSS and task-aligned matching against mmdet's assigners on identical inputs."""

import pytest
import torch
from support.dense import max_iou_of, recorded_assigners, renamed

from detassign.assigners import ATSS, Predictions, Targets, TaskAligned
from detassign.assigners.boxes import iou

ATSS_NAMES = {"topk": "k", "alpha": "alpha", "ignore_iof_thr": "ignore_threshold"}


def matching_of(rule):
    if rule["type"] == "MaxIoUAssigner":
        return max_iou_of(rule)
    return ATSS(**{"ignore_threshold": 0, **renamed(rule, ATSS_NAMES)})


def inputs(case, with_ignore):
    anchors = case.tensor("input/anchors")
    predictions = Predictions(
        case.tensor("input/cls_logits")[None],
        case.tensor("input/pred_boxes")[None],
        priors=anchors,
        points=(anchors[:, :2] + anchors[:, 2:]) / 2,
        strides=(anchors[:, 2] - anchors[:, 0]) / 8,
        level_sizes=tuple(case.tensor("input/num_level_priors").tolist()),
    )
    ignore = [case.tensor("gt/0/ignore_boxes").reshape(-1, 4)] if with_ignore and "gt/0/ignore_boxes" in case else None
    boxes, labels = case.tensor("gt/0/boxes").reshape(-1, 4), case.tensor("gt/0/labels").long()
    return predictions, Targets.from_lists([boxes], [labels], ignore)


def one_based(matches, samples):
    """mmdet's convention: target + 1, 0 background, -1 ignored."""
    result = torch.zeros(samples, dtype=torch.long)
    if matches.ignored is not None:
        result[matches.ignored[0]] = -1
    result[matches.sample] = matches.target + 1
    return result


@pytest.mark.parametrize(("case", "name"), recorded_assigners("MaxIoUAssigner", "ATSSAssigner"))
def test_matching_equals_mmdets_assigner(case, name):
    config = case.config["assigners"][name]
    predictions, targets = inputs(case, with_ignore=config.get("ignore_iof_thr", -1) > 0)
    matches = matching_of(config)(predictions, targets)
    case.check(f"out/{name}/gt_inds", one_based(matches, predictions.logits.shape[1]))
    labels = torch.full((predictions.logits.shape[1],), -1)
    labels[matches.sample] = matches.labels(targets)
    case.check(f"out/{name}/labels", labels)
    check_scores(
        matches, targets, predictions, torch.from_numpy(case.arrays[f"out/{name}/max_overlaps"]), config["type"]
    )


def check_scores(matches, targets, predictions, recorded, kind):
    """Our score is the IoU with the target a sample got; max-IoU records the IoU with the nearest, which differs where a
    sample is the best of another target."""
    recorded = recorded[matches.sample]
    if kind == "MaxIoUAssigner" and len(recorded):
        nearest = iou(predictions.priors[:, None], targets.boxes[0]).argmax(1)[matches.sample]
        assert (matches.score <= recorded + 2e-6).all()
        keep = nearest == matches.target
        matches, recorded = matches.select(keep), recorded[keep]
    torch.testing.assert_close(matches.score, recorded, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize(("case", "name"), recorded_assigners("TaskAlignedAssigner"))
def test_task_aligned_matching_equals_mmdets_assigner(case, name):
    predictions, targets = inputs(case, with_ignore=False)
    matches = TaskAligned(**renamed(case.config["assigners"][name], {"topk": "k"}))(predictions, targets)
    case.check(f"out/{name}/gt_inds", one_based(matches, predictions.logits.shape[1]))
    recorded = {
        key: torch.from_numpy(case.arrays[f"out/{name}/{key}"])[matches.sample]
        for key in ("assign_metrics", "max_overlaps")
    }
    overlap = iou(matches.predicted_boxes(predictions), matches.target_boxes(targets))
    torch.testing.assert_close(matches.score, recorded["assign_metrics"], rtol=1e-4, atol=2e-6)
    torch.testing.assert_close(overlap, recorded["max_overlaps"], rtol=1e-4, atol=2e-6)

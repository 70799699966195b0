"""YOLOv8, YOLOv10, today's ultralytics and YOLO26 against their code: alignment, pairs, targets, losses, gradients.

The original multiplies the sum of the losses by the batch size, ours does not.
"""

from dataclasses import replace

import pytest
import torch
from support.dense import (
    check_gradients,
    class_loss,
    flat,
    gt_index,
    leaves,
    set_alignment,
    set_constants,
    targets_of,
)
from support.golden import cases, golden_folder, missing

from detassign.assigners import Predictions, Targets, TwoHeaded
from detassign.assigners.boxes import boxes_from_distances
from detassign.assigners.presets.yolo import tal_v8


def heads_of(case):
    """Names of the case's heads, the one-to-many first."""
    return ["single"] if case.config["mode"] == "single" else ["one2many", "one2one"]


def predictions_of(case, head, maps):
    """Predictions of raw maps of boxes (B, 4 * K, h, w) and of classes."""
    points, strides = case.tensor("input/points"), case.tensor("input/strides")
    boxes, classes = maps[f"{head}/box"], maps[f"{head}/cls"]
    raw, bins = flat(boxes), case.config["reg_max"]
    distribution = raw.unflatten(-1, (4, bins)) if bins > 1 else None
    distances = raw if bins == 1 else distribution.softmax(-1) @ torch.arange(float(bins))
    return Predictions(
        flat(classes),
        boxes_from_distances(points, distances * strides[:, None]),
        points=points,
        strides=strides,
        level_sizes=tuple(level[0, 0].numel() for level in classes),
        distribution=distribution,
    )


def sized_targets(case):
    """The case's targets in images of its size."""
    targets = targets_of(case, case.config["batch"])
    height, width = case.config["image_hw"]
    sizes = torch.tensor([[float(width), float(height)]]).expand(len(targets.boxes), 2)
    return Targets(targets.boxes, targets.labels, targets.mask, sizes=sizes)


def assigner_of(case, head):
    """The preset with the case's constants."""
    config, gains = case.config, case.config["gains"]
    k, keep = config["topk"] if head == "single" else config["topk"][head]
    last = {"dfl": {"eps": 0.01}} if config["reg_max"] > 1 else {"l1": {"type": "relative_sides"}}
    (name, term), *_ = last.items()
    box_loss = {"box": {"type": "ciou", "weight": gains["box"]}, name: {**term, "weight": gains["dfl"]}}
    classes = config["num_classes"]
    assigner = tal_v8(classes, k, keep, config["min_side"] or 0.0, best_of="filled", box_loss=box_loss)
    set_constants(assigner.weighting, class_scale=gains["cls"])
    set_alignment(assigner, config["alpha"], config["beta"])
    return assigner


def check_candidates(case, head, assigner, predictions, targets):
    """Alignment and overlap of every pair inside a box, 0 elsewhere."""
    matching = assigner.matching
    candidates, overlap = matching.candidates(predictions, targets, assigner.score(predictions))
    for name, value in (("metric", candidates.score), ("overlap", overlap)):
        table = torch.zeros(*targets.mask.shape, predictions.logits.shape[1])
        table[candidates.image, candidates.target, candidates.sample] = value.detach()
        for image, count in enumerate(targets.mask.sum(1).tolist()):
            if f"match/{head}/{image}/{name}" in case:
                case.check(f"match/{head}/{image}/{name}", table[image, :count])


def check_assignment(case, head, assignment, predictions, targets):
    """Pairs, soft targets and their sum before its floor."""
    matches, wanted = assignment.matches, assignment.details["target"]
    index = gt_index(matches, predictions.logits.shape[:2])
    case.check(f"target/{head}/gt_index", index)
    case.check(f"target/{head}/fg", index >= 0)
    scores = torch.zeros_like(predictions.logits)
    scores[matches.image, matches.sample, matches.labels(targets)] = wanted
    case.check(f"target/{head}/scores", scores)
    case.check(f"norm/{head}/target_scores_sum", wanted.sum())
    torch.testing.assert_close(assignment.normalizers, wanted.sum().clamp(min=1).expand(3))


def check_losses(case, head, losses):
    """Every entry; the two parts of the class loss are one in the original."""
    case.check(f"loss/{head}/cls", class_loss(losses))
    others = {name.removeprefix("loss_"): value for name, value in losses.items() if "cls" not in name}
    assert {"box", *others} == set(others)
    for name, value in others.items():
        case.check(f"loss/{head}/{name}", value)


@pytest.mark.parametrize("case", cases("dense_assign", "tal_*"))
def test_tal_equals_yolos_code(case):
    targets = sized_targets(case)
    heads = heads_of(case)
    weights = case.config.get("head_weights", dict.fromkeys(heads, 1.0))
    maps, total = {}, 0
    for head in heads:
        maps |= leaves(case, f"{head}/box", f"{head}/cls")
        predictions, assigner = predictions_of(case, head, maps), assigner_of(case, head)
        check_candidates(case, head, assigner, predictions.at_least_float32(), targets)
        assignment, losses = assigner.assign_and_loss(predictions, targets)
        check_assignment(case, head, assignment, predictions, targets)
        check_losses(case, head, losses)
        total = total + weights[head] * sum(losses.values())
    total = total * case.config["batch"]
    case.check("loss/total", total)
    total.backward()
    check_gradients(case, maps)


TWO_HEADED = [p for p in cases("dense_assign", "tal_*") if p.values[0] and len(heads_of(p.values[0])) == 2]


@pytest.mark.parametrize("case", TWO_HEADED or missing(f"no case of two heads in {golden_folder() / 'dense_assign'}"))
def test_two_heads_in_one_loss_equal_yolos_code(case):
    targets, maps, parts = sized_targets(case), {}, {}
    for head in heads_of(case):
        maps |= leaves(case, f"{head}/box", f"{head}/cls")
        parts[head] = predictions_of(case, head, maps), assigner_of(case, head)
    (many, many_assigner), (one, one_assigner) = (parts[head] for head in heads_of(case))
    weights = case.config.get("head_weights", {"one2one": 1.0, "one2many": 1.0})
    assigner = TwoHeaded(one_assigner, many_assigner, (weights["one2one"], weights["one2many"]))
    total = case.config["batch"] * sum(assigner.loss(replace(one, auxiliary=many), targets).values())
    case.check("loss/total", total)
    total.backward()
    check_gradients(case, maps)

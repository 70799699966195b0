"""PAA against its authors' code and mmdet's: first match, losses, mixtures, positives, losses, gradients; score voting.

The authors' boxes end with their last pixel. Handed over with one pixel more they have the overlaps that the code gives
them; its GIoU alone is of the boxes as they are.
"""

import re
from dataclasses import dataclass, replace

import pytest
import torch
from support.dense import (
    check_gradients,
    class_loss,
    decoded,
    flat,
    grid,
    leaves,
    set_constants,
    set_focal,
    strides_of,
    targets_of,
)
from support.golden import cases

from detassign.assigners import Predictions, build
from detassign.assigners.boxes import giou
from detassign.assigners.matching.top_k import rank_within
from detassign.heads import PostProcess
from detassign.heads.postprocess import Detections

LOSSES = {"loss_box": ("loss_bbox", "loss_reg"), "loss_iou": ("loss_iou", "loss_iou_pred")}


@dataclass
class InclusiveGIoU:
    """1 - GIoU of boxes that were handed over with one pixel more, as the authors' code has it."""

    pixel: float

    def __call__(self, predicted, target):
        less = predicted.new_tensor([0, 0, self.pixel, self.pixel])
        return 1 - giou(predicted - less, target - less, floor=0.0, added=1e-7)


def noted_deviations(case):
    """Those of the coder, which its description ends with: "deltas / (0.1,0.1,0.2,0.2)"."""
    return [float(number) for number in re.findall(r"[\d.]+", case.config["coder"])]


def set_paa(assigner, config):
    """Give an assigner the constants of a recording."""
    alpha, gamma = config["loss_alpha"], config["loss_gamma"]
    set_constants(assigner.matching, alpha=alpha, gamma=gamma)
    set_constants(assigner.matching.first, positive_iou=config["iou_threshold"], negative_iou=config["iou_threshold"])
    set_focal(assigner.weighting, alpha, gamma)
    set_constants(assigner.weighting, box_scale=config["reg_loss_weight"])
    set_constants(assigner.branch, weight=config["iou_loss_weight"])
    if config["variant"] == "mmdet":  # the other adds up losses without weights
        set_constants(assigner.matching, box_scale=config["reg_loss_weight"])


def setting(case):
    """Assigner, predictions, targets and the maps that they are made of."""
    pixel = float(case.config["one_pixel"])
    maps = leaves(case, "cls", "delta", "iou")
    anchors, targets = case.tensor("input/anchors"), targets_of(case, case.config["batch"])
    one = torch.tensor([0, 0, pixel, pixel])
    points, strides, sizes = grid([m.shape[-2:] for m in maps["cls"]], strides_of(case))
    boxes = decoded(anchors, flat(maps["delta"]), noted_deviations(case), pixel, symmetric=not pixel) + one
    predictions = Predictions(
        flat(maps["cls"]), boxes, flat(maps["iou"])[..., 0], points, strides, sizes, priors=anchors + one
    )
    official = case.config["variant"] == "official"
    changes = {} if official else {"order_free": False}
    assigner = build("paa" if official else "paa_mmdet", case.config["num_classes"], k=case.config["topk"], **changes)
    if official:
        assigner.box_loss = assigner.matching.box_loss = InclusiveGIoU(pixel)
    set_paa(assigner, case.config)
    return assigner, predictions, replace(targets, boxes=targets.boxes + one), maps


@pytest.mark.parametrize("case", cases("dense_assign", "paa_official_*") + cases("dense_assign", "paa_mmdet_*"))
def test_paa_finds_the_candidates_and_their_losses(case):
    assigner, predictions, targets, _ = setting(case)
    first = assigner.matching.first(predictions, targets)
    losses = assigner.matching.losses(first, predictions, targets)
    for image in range(case.config["batch"]):
        recorded = case.tensor(f"score/{image}/first_gt").clamp(min=-1)
        ours = torch.full_like(recorded, -1)
        of_image = first.image == image
        ours[first.sample[of_image]] = first.target[of_image]
        torch.testing.assert_close(ours, recorded)
        if f"score/{image}/loss" in case:
            entry = case.sidecar["tolerance"]["score/*/loss"]
            wanted = case.tensor(f"score/{image}/loss")[first.sample[of_image]]
            scale = wanted.abs().max() if len(wanted) else 1.0  # the tolerance is of the 1e8 that other samples have
            atol = min(entry["atol"], 1e-5 * float(scale))
            torch.testing.assert_close(losses[of_image].detach(), wanted, rtol=entry["rtol"], atol=atol)


@pytest.mark.parametrize("case", cases("dense_assign", "paa_official_*") + cases("dense_assign", "paa_mmdet_*"))
def test_the_mixtures_are_scikit_learns(case):
    assigner, predictions, targets, _ = setting(case)
    candidates, loss = assigner.matching.candidates(predictions, targets)
    row = candidates.flat_target(targets)
    mixture, usable = assigner.matching.fit(row, rank_within(row, -loss), loss, predictions, targets)
    keys = [key.removesuffix("/gt") for key in case.arrays if key.startswith("gmm/") and key.endswith("/gt")]
    fitted = {(int(key.split("/")[1]), int(case.arrays[f"{key}/gt"])) for key in keys}
    count = usable.sum(-1).view(targets.mask.shape)
    assert fitted == {tuple(place) for place in (count > 1).nonzero().tolist()}
    for key in keys:
        index = int(key.split("/")[1]) * targets.mask.shape[1] + int(case.arrays[f"{key}/gt"])
        size = usable[index].sum()
        case.check(f"{key}/means", mixture.means[index])
        case.check(f"{key}/var", mixture.variances[index])
        case.check(f"{key}/weights", mixture.weights[index])
        case.check(f"{key}/component", mixture.component[index, :size])
        case.check(f"{key}/log_density", mixture.log_density[index, :size])
        if f"{key}/n_iter" in case:
            case.check(f"{key}/n_iter", mixture.iterations[index])


@pytest.mark.parametrize("case", cases("dense_assign", "paa_official_*") + cases("dense_assign", "paa_mmdet_*"))
def test_paa_equals_its_originals(case):
    assigner, predictions, targets, maps = setting(case)
    assignment, losses = assigner.assign_and_loss(predictions, targets)
    matches = assignment.matches
    labels = torch.full(predictions.logits.shape[:2], case.config["num_classes"])
    labels[matches.image, matches.sample] = matches.labels(targets)
    case.check("target/labels", labels)
    order = (matches.image * labels.shape[1] + matches.sample).argsort()
    case.check("target/ious", (assignment.box / assigner.weighting.box_scale)[order])
    if len(matches.image):
        case.check("norm/sum_iou", assignment.normalizers[2])
    case.check("loss/loss_cls", class_loss(losses))
    for ours, names in LOSSES.items():
        case.check(next(f"loss/{name}" for name in names if f"loss/{name}" in case), losses[ours])
    sum(losses.values()).backward()
    check_gradients(case, maps)


@pytest.mark.parametrize("case", cases("dense_assign", "paa_score_voting*"))
def test_score_voting_equals_mmdets(case):
    config, scores = case.config, case.tensor("input/scores")
    combined = (scores * case.tensor("input/iou_scores")[:, None]).sqrt()
    sample, label = (combined > config["score_thr"]).nonzero(as_tuple=True)
    found = Detections(case.tensor("input/boxes")[sample], combined[sample, label], label)
    settings = PostProcess(nms_iou=config["nms_iou"], max_per_image=config["max_per_img"])

    kept = settings.suppress(found)
    case.check("nms/boxes", kept.boxes)
    case.check("nms/scores", kept.scores)
    case.check("nms/labels", kept.labels)
    voted = replace(settings, score_voting=config["sigma"]).suppress(found)
    grouped = voted.labels.argsort(stable=True)
    case.check("output/boxes", voted.boxes[grouped])
    case.check("output/scores", voted.scores[grouped])
    case.check("output/labels", voted.labels[grouped])

"""Which proposals become queries, which of these stay and which detections, as DETA's and DDQ's code recorded them."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.golden import cases
from support.query_assign import Output, match_costs

from detassign.assigners import Assigner, Hungarian, Predictions
from detassign.assigners.weighting import focal
from detassign.detectors.transformer.distinct import Distinct, sight_among
from detassign.detectors.transformer.proposals import Proposals, gather_rows
from detassign.detectors.transformer.selection import NMS, LevelNMS
from detassign.heads import PostProcess
from detassign.heads.query import pixel_boxes
from detassign.heads.reference import shares


def proposals_of(logits, boxes, rank, sizes) -> Proposals:
    """Proposals of tokens that are known by what they predict alone."""
    unknown = torch.zeros(*rank.shape, 0)
    return Proposals(unknown, logits, boxes, torch.zeros_like(boxes), torch.ones(rank.shape[1]), sizes, rank)


def image_arrays(case, name, images):
    """What is recorded of every image under output/name/<image>."""
    return [case.arrays[f"output/{name}/{image}"] for image in range(images)]


@pytest.mark.parametrize("case", cases("query_assign", "deta_preselect_*"))
def test_selection_within_levels_equals_detas(case):
    """Quotas, places that a level leaves free, void tokens, and all of the best where NMS leaves too few."""
    logits, boxes, config = case.tensor("input/logits"), case.tensor("input/box_logits"), case.config
    proposals = proposals_of(logits, boxes, logits[..., 0], torch.bincount(case.tensor("input/level")).tolist())
    queries = config["queries"]
    chosen = LevelNMS(config["nms_iou"], config["pre_nms_top_per_level"])(proposals, queries)
    for found, recorded in zip(chosen, image_arrays(case, "selected", len(logits)), strict=True):
        np.testing.assert_array_equal(found, recorded)
    case.check("output/reference", shares(gather_rows(boxes, chosen)))
    left = [len(kept) < queries for kept in image_arrays(case, "after_nms", len(logits))]
    assert left == [bool(fallback) for fallback in image_arrays(case, "fallback", len(logits))]


@pytest.mark.parametrize("case", cases("query_assign", "ddq_preselect_*"))
def test_selection_over_all_tokens_equals_ddqs(case):
    """Where DDQ's code has no query left, the best suppressed tokens follow."""
    logits, boxes, queries = case.tensor("input/logits"), case.tensor("input/boxes"), case.config["queries"]
    rank = logits.amax(-1)
    proposals = proposals_of(logits, boxes.logit(), rank, (rank.shape[1],))
    chosen = NMS(case.config["nms_iou"])(proposals, queries)
    assert chosen.shape == (len(logits), queries)
    for image, recorded in enumerate(image_arrays(case, "queries", len(logits))):
        np.testing.assert_array_equal(chosen[image, : len(recorded)], recorded)
        others = np.setdiff1d(np.arange(rank.shape[1]), case.arrays[f"output/keep/{image}"])
        best = others[np.argsort(-rank[image, others].numpy(), kind="stable")]
        np.testing.assert_array_equal(chosen[image, len(recorded) :], best[: queries - len(recorded)])
    dense = proposals.choose(int(queries * case.config["dense_ratio"])).chosen
    for found, recorded in zip(dense, image_arrays(case, "dense", len(logits)), strict=True):
        np.testing.assert_array_equal(found, recorded)


def layers_under(rule, case):
    """The queries of every layer that could be kept, those that are, and those that count behind it, (B, Q) each."""
    scores, boxes = case.tensor("input/scores"), case.tensor("input/boxes")
    counting = torch.ones_like(scores[0], dtype=torch.bool)
    for layer in range(len(scores)):
        before = counting
        kept, counting = rule(boxes[layer], scores[layer], before)
        yield before, kept, counting


@pytest.mark.parametrize("case", cases("query_assign", "ddq_select_*"))
def test_queries_that_stay_distinct_equal_ddqs(case):
    """As its code reads them from the first row of the mask."""
    scores = case.tensor("input/scores")
    for layer, found in enumerate(layers_under(Distinct(case.config["nms_iou"], first_row=True), case)):
        for image, (before, kept, counting) in enumerate(zip(*found, strict=True)):
            case.check(f"output/candidates/{layer}/{image}", before)
            order = scores[layer, image].argsort(descending=True)
            case.check(f"output/keep/{layer}/{image}", order[kept[order]])
            case.check(f"output/attention_mask/{layer}/{image}", ~sight_among(kept[None])[0, 0])
            case.check(f"output/loss_mask/{layer}/{image}", counting)


@pytest.mark.parametrize("case", cases("query_assign", "ddq_select_*"))
def test_queries_that_stay_distinct_are_those_kept_whether_the_first_is_or_not(case):
    """What DDQ's code does where its first query is dropped; where it is kept there, everything counts."""
    for layer, (before, kept, counting) in enumerate(layers_under(Distinct(case.config["nms_iou"]), case)):
        assert torch.equal(counting, kept)
        assert not (kept & ~before).any()
        for image in range(len(kept)) if layer == 0 or not case.config["query_0_kept"] else ():
            case.check(f"output/attention_mask/{layer}/{image}", ~sight_among(kept)[image, 0])
        for image in () if case.config["query_0_kept"] else range(len(kept)):
            case.check(f"output/loss_mask/{layer}/{image}", counting[image])


@pytest.mark.parametrize("case", cases("query_assign", "ddq_distinct_*"))
def test_losses_of_distinct_queries_equal_ddqs(case):
    """Pairs are recorded by their place among the queries that count."""
    output = Output(case, sizes=case.tensor("input/sizes_hw").flip(-1))
    valid = torch.stack([case.tensor(f"input/mask/{name}/{image}") for name, image, _ in output.places()])
    l1, giou = (
        float(re.search(rf"{name} ([\d.]+)", case.sidecar["keys"]["loss/..."]).group(1)) for name in ("L1", "GIoU")
    )
    box_loss = {"relative_l1": l1, "relative_giou": giou}
    assigner = Assigner(Hungarian(match_costs(case)), focal(**case.config["focal"]), box_loss=box_loss)
    assignment, losses = assigner.assign_and_loss(replace(output.predictions, valid=valid), output.targets)

    matches, place = assignment.matches, valid.cumsum(1) - 1
    output.check_pairs(replace(matches, sample=place[matches.image, matches.sample]))
    classes = losses["loss_cls_pos"] + losses["loss_cls_neg"]
    found = {"loss_cls": classes, "loss_bbox": losses["loss_l1"], "loss_iou": losses["loss_giou"]}
    for layer, name in enumerate(output.names):
        case.check(f"norm/{name}", assignment.normalizers[0, layer])
        prefix = "" if layer == output.layers - 1 else f"d{layer}."
        for official, values in found.items():
            case.check(f"loss/{prefix}{official}", values[layer])
    total = sum(values.sum() for values in losses.values())
    case.check("loss_total", total)
    total.backward()
    output.check_gradients()


@pytest.mark.parametrize("case", cases("query_assign", "deta_postprocess*"))
def test_detections_equal_detas(case):
    config, sizes = case.config, case.tensor("input/sizes_hw").flip(-1).float()
    logits = case.tensor("input/logits")
    process = PostProcess(
        score_threshold=-1.0,
        per_level=config["pre_top"],
        nms_iou=config["nms_iou"],
        class_agnostic=not config["per_class"],
        max_per_image=config["max_detections"],
        clip=False,
        min_size=None,
    )
    predictions = Predictions(logits, pixel_boxes(case.tensor("input/boxes"), sizes))
    for image, (width, height) in enumerate(sizes.int().tolist()):
        found = process(logits.sigmoid(), None, predictions, image, (height, width))
        case.check(f"output/scores/{image}", found.scores)
        case.check(f"output/labels/{image}", found.labels)
        case.check(f"output/boxes/{image}", found.boxes)

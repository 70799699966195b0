"""Which proposals become queries, and which detections are left by the final NMS, as DETA's and DDQ's code recorded them."""

import numpy as np
import pytest
import torch
from support.golden import cases

from detassign.assigners import Predictions
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

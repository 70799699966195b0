"""The dense head against the official FCOS and DW heads: outputs, refinement, gradients, detections."""

import pytest
import torch
from support.dense import hard_threshold_of, targets_of
from support.golden import cases

from detassign.assigners import build
from detassign.heads import DenseHead, PostProcess
from detassign.heads.points import level_points
from detassign.heads.refinement import BoxRefinement, boundary_offsets


def state_of(case):
    """The recorded parameters under our names; returns those of the head and those of the centre prior."""
    state = case.state_dict()
    prior = {k.removeprefix("center_prior."): state.pop(k) for k in list(state) if k.startswith("center_prior.")}
    head = {("refinement." + k if k.startswith("reg_offset") else k): v for k, v in state.items()}
    return head, prior


def load(head, state):
    missing, unexpected = head.load_state_dict(state, strict=False)
    assert not unexpected
    assert all(name.startswith("assigner.") for name in missing)


def split_levels(values, sizes, shapes):
    """(B, N, K) back to level maps (B, K, H, W)."""
    parts = values.split(sizes, 1)
    return [p.transpose(1, 2).unflatten(2, shape) for p, shape in zip(parts, shapes, strict=True)]


def side_distances_of(predictions):
    points = predictions.points
    return torch.cat([points - predictions.boxes[..., :2], predictions.boxes[..., 2:] - points], -1)


@pytest.mark.parametrize("case", cases("dense", "dw_refine_*"))
def test_refinement_equals_the_original(case):
    """Level by level: coarse distances, offsets, sampled boxes, refined distances, every gradient."""
    for level, stride in enumerate(case.config["strides"]):
        module = BoxRefinement(case.config["feat_channels"])
        module.reg_offset.weight.data = case.tensor("state_dict/reg_offset.weight")
        module.reg_offset.bias.data = case.tensor("state_dict/reg_offset.bias")
        raw, feature = case.leaf(f"input/raw_reg/{level}"), case.leaf(f"input/reg_feat/{level}")
        scale = case.leaf(f"state_dict/scales.{level}.scale")
        coarse = (scale * raw).clamp(min=0) * stride
        points = level_points(*raw.shape[-2:], stride, like=raw, offset=case.config["prior_offset"])
        refined = module(feature, coarse, points, stride)

        case.check(f"intermediate/coarse_distance/{level}", coarse)
        offsets = boundary_offsets(module.reg_offset(feature), coarse / stride)
        case.check(f"intermediate/sampling_offset/{level}", offsets.flatten(1, 2))
        case.check(f"output/refined_distance/{level}", refined)
        refined.backward(case.tensor(f"input/upstream_grad/{level}"))
        gradients = {"raw_reg": raw, "reg_feat": feature, "scale": scale}
        gradients |= {"reg_offset.weight": module.reg_offset.weight, "reg_offset.bias": module.reg_offset.bias}
        for name, tensor in gradients.items():
            case.check(f"grad/{name}/{level}", tensor.grad)


def dw_head(case):
    config = case.config
    head = DenseHead(
        config["num_classes"],
        config["in_channels"],
        assigner=build("dw_original", num_classes=config["num_classes"]),
        feat_channels=config["feat_channels"],
        stacked_convs=config["stacked_convs"],
        strides=tuple(config["strides"]),
        norm_groups=config["gn_groups"],
        conv_bias=True,
        refinement={} if config["reg_refine"] else None,
        point_offset=config["prior_offset"],
    )
    state, prior = state_of(case)
    load(head, state)
    head.assigner.matching.load_state_dict(prior)
    head.assigner.matching.hard_threshold = hard_threshold_of(config)
    return head


@pytest.mark.parametrize("case", cases("dense", "dw_head_*"))
def test_dw_head_forward_and_gradients_equal_the_original(case):
    head, features = dw_head(case), [f.requires_grad_() for f in case.levels("input/feat")]
    predictions = head(features)
    shapes = case.config["featmap_sizes"]
    outputs = {
        "cls": split_levels(predictions.logits, predictions.level_sizes, shapes),
        "reg": split_levels(side_distances_of(predictions), predictions.level_sizes, shapes),
        "obj": split_levels(predictions.objectness[..., None], predictions.level_sizes, shapes),
    }
    for name, key in (("cls", "cls_score"), ("reg", "bbox_pred"), ("obj", "objectness")):
        for level, level_map in enumerate(outputs[name]):
            case.check(f"output/{key}/{level}", level_map)
    upstream = {name: case.levels(f"input/upstream_grad/{name}") for name in outputs}
    for name in outputs:
        torch.autograd.backward(outputs[name], upstream[name], retain_graph=True)
    for level, feature in enumerate(features):
        case.check(f"grad/feat/{level}", feature.grad)
    parameters = dict(head.named_parameters())
    for key in case.arrays:
        if key.startswith("grad/param/"):
            name = key.removeprefix("grad/param/")
            case.check(key, parameters["refinement." + name if name.startswith("reg_offset") else name].grad)


def post_process_of(case):
    config = case.config["test_cfg"]
    return PostProcess(config["score_thr"], config["nms_pre"], config["iou_threshold"], False, config["max_per_img"])


def check_detections(case, found, folder, scale):
    """Same detections; the order of exactly equal scores is free."""
    case.check(f"{folder}/labels", found.labels)
    case.check(f"{folder}/scores", found.scores)
    case.check(f"{folder}/boxes", found.boxes / torch.tensor([*scale, *scale]))


@pytest.mark.parametrize("case", cases("dense", "dw_head_*"))
def test_dw_detections_equal_the_original(case):
    head, post_process = dw_head(case), post_process_of(case)
    with torch.no_grad():
        predictions = head(case.levels("input/feat"))
        scores, factor = head.scores(predictions)
    for image in range(case.config["batch"]):
        found = post_process(scores, factor, predictions, image, tuple(case.config["img_shape"]))
        check_detections(case, found, f"pred/{image}/final", case.config["scale_factor"])


@pytest.mark.parametrize("case", cases("dense", "dw_end_to_end_*"))
def test_dw_training_step_equals_the_original(case):
    head, features = dw_head(case), [f.requires_grad_() for f in case.levels("input/feat")]
    losses = head.loss(features, targets_of(case, case.config["batch"]))
    for ours, theirs in {
        "loss_cls_pos": "loss_cls_pos",
        "loss_box": "loss_loc",
        "loss_cls_neg": "loss_cls_neg",
    }.items():
        case.check(f"loss/{theirs}", losses[ours])
    sum(losses.values()).backward()
    for level, feature in enumerate(features):
        case.check(f"grad/feat/{level}", feature.grad)
    recorded = 0
    for name, parameter in head.named_parameters():
        key = "grad/param/" + name.removeprefix("refinement.")
        if key in case:
            recorded += 1
            case.check(key, parameter.grad)
    assert recorded == sum(key.startswith("grad/param/") for key in case.arrays)


@pytest.mark.parametrize("case", cases("dense", "head_forward_fcos_*"))
def test_fcos_head_equals_mmdet(case):
    config = case.config["head"]
    head = DenseHead(
        config["num_classes"],
        config["in_channels"],
        assigner="fcos",
        feat_channels=config["feat_channels"],
        stacked_convs=config["stacked_convs"],
        strides=tuple(config["strides"]),
        branch_on="reg" if config.get("centerness_on_reg") else "cls",
        distances="relu" if config.get("norm_on_bbox") else "exp",
        norm_groups=config["norm_cfg"]["num_groups"],
    )
    load(head, state_of(case)[0])
    with torch.no_grad():
        predictions = head(case.levels("input/feat"))
        scores, factor = head.scores(predictions)
    shapes = case.config["featmap_sizes"]
    for key, values in {
        "cls_score": predictions.logits,
        "bbox_pred": side_distances_of(predictions),
        "objectness": predictions.objectness[..., None],
    }.items():
        for level, level_map in enumerate(split_levels(values, predictions.level_sizes, shapes)):
            case.check(f"output/{key}/{level}", level_map)
    for image in range(case.config["batch"]):
        found = post_process_of(case)(scores, factor, predictions, image, tuple(case.config["img_shape"]))
        check_detections(case, found, f"pred/{image}", case.config["scale_factor"])


TOOD_NAMES = {"tood_cls": "conv_cls", "tood_reg": "conv_reg", "scales": "scales"}


def tood_head(case):
    config = case.config["head"]
    head = DenseHead(
        config["num_classes"],
        config["in_channels"],
        "tood",
        config["feat_channels"],
        config["stacked_convs"],
        strides=tuple(config["anchor_generator"]["strides"]),
        distances="exp_strides",
        norm_groups=config["norm_cfg"]["num_groups"],
        task_aligned={"border": "zeros"},
        point_offset=0.0,
    )
    state = {}
    for name, value in case.state_dict().items():
        part, rest = name.split(".", 1)
        state[f"{TOOD_NAMES.get(part, 'task_aligned.' + part)}.{rest}"] = value
    load(head, state)
    return head.eval()


@torch.no_grad()
@pytest.mark.parametrize("case", cases("dense", "head_forward_tood_*"))
def test_toods_head_equals_mmdets(case):
    head = tood_head(case)
    predictions = head(case.levels("input/feat"))
    shapes = [tuple(shape) for shape in case.config["featmap_sizes"]]
    scores, factor = head.scores(predictions)
    assert factor is None
    in_strides = predictions.boxes / predictions.strides[:, None]
    for level, part in enumerate(split_levels(scores, predictions.level_sizes, shapes)):
        case.check(f"output/cls_score/{level}", part)
    for level, part in enumerate(split_levels(in_strides, predictions.level_sizes, shapes)):
        case.check(f"output/bbox_pred/{level}", part)
    settings = case.config["test_cfg"]
    post_process = PostProcess(
        score_threshold=settings["score_thr"],
        per_level=settings["nms_pre"],
        nms_iou=settings["iou_threshold"],
        max_per_image=settings["max_per_img"],
        clip=False,
        min_size=None,
    )
    for image in range(case.config["batch"]):
        found = post_process(scores, None, predictions, image, tuple(case.config["img_shape"]))
        case.check(f"pred/{image}/boxes", found.boxes / torch.tensor(case.config["scale_factor"]).repeat(2))
        case.check(f"pred/{image}/scores", found.scores)
        case.check(f"pred/{image}/labels", found.labels)

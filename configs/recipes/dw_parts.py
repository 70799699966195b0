"""What DW's five published settings share (arXiv 2203.09730 and its code)."""

from typing import Any

from .parts import imagenet_resnet

MULTI_SCALE = {"input.multi_scale": ((1333, 480), (1333, 960))}  # any short side between
DCN = {
    "model.backbone.dcn": {"type": "DCNv2", "deform_groups": 1, "fallback_on_stride": False},
    "model.backbone.stage_with_dcn": (False, True, True, True),
    "model.head.dcn_on_last_conv": True,
}


def dw_changes(depth: int, refine: bool) -> dict[str, Any]:
    """The head's constants and ImageNet weights."""
    return {
        "model.head.conv_bias": True,
        "model.head.class_prior": 0.02,
        "model.head.initial_distance": 4.0,
        "model.head.refinement": {"border": "zeros"} if refine else None,
        "schedule.norm_decay_mult": 0.0,
    } | imagenet_resnet(depth)

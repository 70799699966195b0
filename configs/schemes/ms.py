"""MS-DETR: the queries also learn one to many, right after they looked at the image (arXiv 2401.03989)."""

from typing import Any

from .parts import tricks

ANCHORS = "on_priors(hungarian(costs={'l1': 5, 'giou': 2}))+focal(class_scale=2, count='targets')"


def scheme(model: dict[str, Any]) -> dict[str, Any]:
    return {
        "assigner": {"type": "deformable_detr", "class_scale": 1.0, "encoder": ANCHORS},
        "extra": {"mixed": {"type": "mixed", "hidden": model["decoder"]["hidden"], "assigner": "ms"}},
        "changes": {**tricks(model), "model.decoder.cross_first": True},
    }

"""MS-DETR: the queries also learn one to many, right after they looked at the image (arXiv 2401.03989)."""

from typing import Any

from .parts import check_sees_alone, tricks, with_encoder

ANCHORS = "on_priors(hungarian(costs={'l1': 5, 'giou': 2}))+focal(class_scale=2, count='targets')"


def scheme(model: dict[str, Any]) -> dict[str, Any]:
    check_sees_alone("ms", model)
    return {
        "assigner": with_encoder(model, {"type": "deformable_detr", "class_scale": 1.0}, ANCHORS),
        "extra": {"mixed": {"type": "mixed", "hidden": model["decoder"]["hidden"], "assigner": "ms"}},
        "changes": {**tricks(model), "model.decoder.cross_first": True},
    }

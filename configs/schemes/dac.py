"""DAC-DETR: a way without self-attention; its denoising, limit of 75 and the other way's boxes are not here (NeurIPS 2023).

Of its code's path three things are not here: it matches by the other path's boxes, keeps 75 positives of an image at most,
and takes denoising queries along.
"""

from typing import Any

from .parts import check_sees_alone, with_encoder


def scheme(model: dict[str, Any]) -> dict[str, Any]:
    check_sees_alone("dac", model)
    path = {"type": "path", "assigner": {"type": "dac", "conflict": "all"}}
    return {"assigner": with_encoder(model, {"type": "lw"}, "deformable_detr"), "extra": {"path": path}}

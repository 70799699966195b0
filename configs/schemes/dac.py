"""DAC-DETR: the queries once more through the decoder without seeing each other, and several per object (NeurIPS 2023).

Of its code's path three things are not here: it looks at the other path's boxes, keeps 75 positives of an image at most, and
takes denoising queries along.
"""

from typing import Any

MANY = "thresholded(threshold=0.4, k=6, class_weight=0.3, low_quality='one', limit=0.25, conflict='all')"
BY_RANK = "ia_bce(rank_decay=1.5, count='targets_once')"


def scheme(model: dict[str, Any]) -> dict[str, Any]:
    path = {
        "type": "path",
        "assigner": f"{MANY}+{BY_RANK}",
        "weight": 1 / 3,
    }  # its losses count every object three times
    return {"assigner": {"type": "lw", "encoder": "deformable_detr"}, "extra": {"path": path}}

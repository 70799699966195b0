"""Co-DETR: an auxiliary ATSS head and queries at its positives; its Faster R-CNN head is not here (arXiv 2211.12860).

On DINO detections learn by quality focal loss.
"""

from typing import Any


def scheme(model: dict[str, Any]) -> dict[str, Any]:
    extra = {"extra": {"collaborative": {"type": "collaborative"}}}
    learns_classes = model["head"].get("encoder") == "classes"  # the encoder's proposals, as DINO's do
    return {"assigner": "hungarian+quality_focal", **extra} if learns_classes else extra

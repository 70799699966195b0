"""``nms``, ``softnms`` and ``nms_match`` in the calling convention of ``mmcv._ext``.

Hard suppression is torchvision's kernel; soft suppression (Bodla et al., "Soft-NMS", 2017) and matching (Cao et al.,
"Prime Sample Attention", 2020) are written here. As in mmcv, for the first two a box is ``offset`` pixels wider and
higher than the difference of its corners (1 for inclusive integer pixels).
"""

import torch
import torchvision
from torch import Tensor

from .precision import at_least_float32

__all__ = ["nms", "nms_match", "softnms"]

NAIVE, LINEAR = 0, 1  # mmcv's numbers for the decay; 2 is gaussian


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Indices of the boxes kept, best score first; one is dropped where its IoU with a kept one is above the threshold.

    Args:
        boxes: (N, 4) xyxy, pixels.
        scores: (N,).
        iou_threshold: rounded to the dtype of the boxes first, as mmcv compares in the boxes' precision.
        offset: 0 or 1 pixel added to widths and heights.

    Returns:
        (K,) int64.
    """
    boxes = _grown(at_least_float32(boxes), offset)
    threshold = torch.tensor(iou_threshold, dtype=boxes.dtype).item()
    return torchvision.ops.nms(boxes, scores.to(boxes.dtype), threshold)


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Indices in the order picked; each pick lowers the scores that overlap it, and those below ``min_score`` leave.

    The first pick is never compared with ``min_score``, as in mmcv.

    Args:
        boxes: (N, 4) xyxy, pixels.
        scores: (N,).
        dets: (N, 5) buffer; its first K rows receive box and decayed score of the picks.
        iou_threshold: where naive and linear decay begin (at or above).
        sigma: width of the gaussian decay.
        min_score: boxes whose decayed score is lower are dropped.
        method: 0 naive, 1 linear, 2 gaussian.
        offset: 0 or 1 pixel added to widths and heights.

    Returns:
        (K,) int64.
    """
    boxes, remaining = at_least_float32(boxes), at_least_float32(scores)
    grown = _grown(boxes, offset)
    indices = torch.arange(len(boxes), device=boxes.device)
    picked: list[Tensor] = []
    while len(indices) > 0:
        best = remaining.argmax()
        pick = indices[best]
        dets[len(picked)] = torch.cat((boxes[pick], remaining[best].view(1))).to(dets)
        picked.append(pick)
        remaining = remaining * _decay(_overlaps(grown[pick], grown[indices]), iou_threshold, sigma, method)
        keep = remaining >= min_score
        keep[best] = False
        indices, remaining = indices[keep], remaining[keep]
    return torch.stack(picked) if picked else indices


def nms_match(dets: Tensor, iou_threshold: float) -> list[list[int]]:
    """Groups of boxes: each box that suppression keeps, and behind it those that it drops, best score first.

    Unlike ``nms``, a box whose IoU equals the threshold is dropped.

    Args:
        dets: (N, 5) xyxy, pixels, and score.
        iou_threshold: compared in the dtype of the boxes.

    Returns:
        Indices of the boxes, each in one group; the groups in the order of their best scores.
    """
    boxes = at_least_float32(dets[:, :4])
    remaining = dets[:, 4].argsort(descending=True, stable=True)
    groups = []
    while len(remaining) > 0:
        matched = _overlaps(boxes[remaining[0]], boxes[remaining]) >= boxes.new_tensor(iou_threshold)
        matched[0] = True
        groups.append(remaining[matched].tolist())
        remaining = remaining[~matched]
    return groups


def _decay(overlaps: Tensor, iou_threshold: float, sigma: float, method: int) -> Tensor:
    """(N,) factors by which the scores shrink."""
    reached = overlaps >= overlaps.new_tensor(iou_threshold)
    if method == NAIVE:
        return (~reached).to(overlaps)
    if method == LINEAR:
        return torch.where(reached, 1 - overlaps, torch.ones_like(overlaps))
    return torch.exp(-(overlaps**2) / sigma)


def _overlaps(box: Tensor, boxes: Tensor) -> Tensor:
    """(4,) and (N, 4) -> (N,) IoU; 0 where both boxes have no area."""
    return torchvision.ops.box_iou(box.unsqueeze(0), boxes).squeeze(0).nan_to_num(0.0)


def _grown(boxes: Tensor, offset: int) -> Tensor:
    return boxes + boxes.new_tensor([0, 0, offset, offset])

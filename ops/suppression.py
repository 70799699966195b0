"""Non-maximum suppression of a batch, as a mask, which a file that is exported can hold too."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import batched_nms, nms

from ._portable import portable, whole


@torch.no_grad()
def survivors(boxes: Tensor, scores: Tensor, overlap: float, groups: Tensor | None = None, count: int = 1) -> Tensor:
    """(B, N) bool, the boxes that no surviving better one of their image overlaps by an IoU above `overlap`.

    Images are suppressed together; in double precision none changes what another keeps. It waits for the device: once, or
    where the batch has more than 5000 boxes for every image and group.

    Args:
        boxes: (B, N, 4) xyxy.
        scores: (B, N).
        overlap: IoU.
        groups: (N,) or (B, N) long, below `count`; boxes suppress only those of their group. None is one group.
        count: of the groups.

    >>> boxes = torch.tensor([[[0.0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]]])
    >>> survivors(boxes, torch.tensor([[0.5, 0.9, 0.1]]), 0.8).tolist()
    [[False, True, True]]
    """
    groups = torch.zeros_like(scores, dtype=torch.long) if groups is None else groups.expand(scores.shape)
    if whole():
        return torch.ops.detassign.survivors(boxes.float(), scores.float(), overlap, groups.contiguous(), count)
    return _left(boxes, scores, overlap, groups)


def _left(boxes: Tensor, scores: Tensor, overlap: float, groups: Tensor) -> Tensor:
    """`survivors` in torch's terms."""
    image = torch.arange(scores.shape[0], device=scores.device)[:, None]
    apart = (image + scores.shape[0] * groups).flatten()
    suppress = _one_pass if portable() else batched_nms
    kept = suppress(boxes.flatten(0, 1).double(), scores.flatten().double(), apart, overlap)
    return torch.zeros_like(apart).scatter(0, kept, 1).bool().view(scores.shape)


def _one_pass(boxes: Tensor, scores: Tensor, groups: Tensor, overlap: float) -> Tensor:
    """torchvision's `batched_nms` without its loop over groups, which cannot be traced: they are moved far apart."""
    far = boxes.max() - boxes.min() + 1
    return nms(boxes + (groups * far)[:, None], scores, overlap)


@torch.library.custom_op("detassign::survivors", mutates_args=())
def _survivors(boxes: Tensor, scores: Tensor, overlap: float, groups: Tensor, count: int) -> Tensor:
    """What stands in a traced graph until ONNX has its own operator for it."""
    return _left(boxes, scores, overlap, groups)


@_survivors.register_fake
def _(boxes: Tensor, scores: Tensor, overlap: float, groups: Tensor, count: int) -> Tensor:
    return torch.empty_like(scores, dtype=torch.bool)

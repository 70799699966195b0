"""Non-maximum suppression of a batch, as a mask."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import batched_nms


@torch.no_grad()
def survivors(boxes: Tensor, scores: Tensor, overlap: float, groups: Tensor | None = None) -> Tensor:
    """(B, N) bool, the boxes that no surviving better one of their image overlaps by an IoU above `overlap`.

    Images are suppressed together; in double precision none changes what another keeps. It waits for the device: once, or
    where the batch has more than 5000 boxes for every image and group.

    Args:
        boxes: (B, N, 4) xyxy.
        scores: (B, N).
        overlap: IoU.
        groups: (N,) or (B, N) long; boxes suppress only those of their group. None is one group.

    >>> boxes = torch.tensor([[[0.0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]]])
    >>> survivors(boxes, torch.tensor([[0.5, 0.9, 0.1]]), 0.8).tolist()
    [[False, True, True]]
    """
    image = torch.arange(len(scores), device=scores.device)[:, None]
    group = image if groups is None else image + len(scores) * groups
    group = group.expand(scores.shape).flatten()
    kept = batched_nms(boxes.flatten(0, 1).double(), scores.flatten().double(), group, overlap)
    return torch.zeros_like(group, dtype=torch.bool).index_fill_(0, kept, True).view(scores.shape)

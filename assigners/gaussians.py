"""Boxes as Gaussians, with their centre as mean and half their sides as deviations, and how far two of them are apart.

The measures of tiny objects, which hardly ever overlap anything. Boxes of (..., 4) and (..., 4) xyxy, pixels, are broadcast.
"""

from __future__ import annotations

import torch
from torch import Tensor

EPSILON = 1e-6  # added to sides and squared distances, as in the code of RFLA and NWD


def squared_center_distance(boxes: Tensor, others: Tensor, eps: float = EPSILON) -> Tensor:
    """Squared distance of the centres plus `eps`, (...), square pixels."""
    (x, y, _, _), (u, v, _, _) = _centered(boxes), _centered(others)
    return (x - u) ** 2 + (y - v) ** 2 + eps


def squared_wasserstein(boxes: Tensor, others: Tensor, eps: float = EPSILON) -> Tensor:
    """Squared Wasserstein distance plus `eps`, (...), square pixels (NWD, arXiv 2110.13389).

    >>> squared_wasserstein(torch.tensor([0.0, 0.0, 4.0, 4.0]), torch.tensor([3.0, 0.0, 7.0, 8.0]), eps=0.0)
    tensor(17.)
    """
    (_, _, w, h), (_, _, other_w, other_h) = _centered(boxes), _centered(others)
    return squared_center_distance(boxes, others, eps) + ((w - other_w) ** 2 + (h - other_h) ** 2) / 4


def divergence(boxes: Tensor, others: Tensor) -> Tensor:
    """Kullback-Leibler divergence of `others` from `boxes`, (...), which is not symmetric (RFLA, arXiv 2208.08738)."""
    (x, y, w, h), (u, v, other_w, other_h) = _centered(boxes), _centered(others)
    across, down = (w + EPSILON) ** 2, (h + EPSILON) ** 2
    other_across, other_down = (other_w + EPSILON) ** 2, (other_h + EPSILON) ** 2
    spread = other_across / across + other_down / down
    offset = 4 * ((x - u) ** 2 / across + (y - v) ** 2 / down)
    return (spread + offset + torch.log(across / other_across) + torch.log(down / other_down) - 2) / 2


def _centered(boxes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Centre and sides, each (...): arithmetic on whole planes is several times as fast as on their last axis."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    return (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1

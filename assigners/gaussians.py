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
    w, h, other_w, other_h = (side + EPSILON for side in (w, h, other_w, other_h))
    across = (other_w**2 + (2 * x - 2 * u) ** 2) * (1 / w**2)
    down = (other_h**2 + (2 * y - 2 * v) ** 2) * (1 / h**2)
    return (across + down) / 2 - 1 + torch.log((w * h).abs() * (1 / (other_w * other_h).abs()))


def _centered(boxes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Centre and sides, each (...): arithmetic on whole planes is several times as fast as on their last axis."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    return (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1

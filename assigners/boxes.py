"""Box arithmetic in the forms that assignment needs: every sample against every target, or pair by pair.

torchvision.ops.boxes has the two-dimensional forms; these are batched and need torch alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from operator import add

import torch
from torch import Tensor

EPSILON = 1e-6  # floor of union and enclosing area, as in the original implementations of FCOS, ATSS and DW


def area(boxes: Tensor) -> Tensor:
    """Area of boxes (..., 4) xyxy -> (...)."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def center(boxes: Tensor) -> Tensor:
    """Centre of boxes (..., 4) xyxy -> (..., 2) xy."""
    return (boxes[..., :2] + boxes[..., 2:]) / 2


def sides(boxes: Tensor) -> Tensor:
    """Width and height of boxes (..., 4) xyxy -> (..., 2)."""
    return boxes[..., 2:] - boxes[..., :2]


def intersection(boxes: Tensor, others: Tensor) -> Tensor:
    """Intersection area of broadcast boxes (..., 4) and (..., 4) -> (...)."""
    return _intersection(_planes(boxes), _planes(others))


Planes = Sequence[Tensor]
"""x1, y1, x2, y2, each (...): arithmetic on whole planes is several times as fast as on their last axis of two or four."""


def _planes(boxes: Tensor) -> Planes:
    """Of boxes (..., 4), each in one stretch of memory."""
    return boxes.movedim(-1, 0).contiguous().unbind(0)


def _intersection(boxes: Planes, others: Planes) -> Tensor:
    width = torch.minimum(boxes[2], others[2]) - torch.maximum(boxes[0], others[0])
    height = torch.minimum(boxes[3], others[3]) - torch.maximum(boxes[1], others[1])
    return width.clamp(min=0) * height.clamp(min=0)


def _union(boxes: Planes, others: Planes, overlap: Tensor) -> Tensor:
    first, second = ((x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in (boxes, others))
    return first + second - overlap


def iou(boxes: Tensor, others: Tensor) -> Tensor:
    """IoU of broadcast boxes (..., 4) and (..., 4) xyxy -> (...).

    >>> iou(torch.tensor([0.0, 0.0, 2.0, 2.0]), torch.tensor([1.0, 0.0, 3.0, 2.0]))
    tensor(0.3333)
    """
    overlap = intersection(boxes, others)
    return overlap / (area(boxes) + area(others) - overlap).clamp(min=EPSILON)


def giou(boxes: Tensor, others: Tensor, floor: float = EPSILON, added: float = 0.0) -> Tensor:
    """Generalised IoU of broadcast boxes (..., 4) and (..., 4) xyxy -> (...) in [-1, 1] up to rounding.

    Union and enclosing area are at least `floor`; `added` goes on top of both where they divide.
    """
    return _giou(_planes(boxes), _planes(others), floor, added)


def _giou(boxes: Planes, others: Planes, floor: float, added: float) -> Tensor:
    overlap = _intersection(boxes, others)
    union = _union(boxes, others, overlap).clamp(min=floor)
    width = torch.maximum(boxes[2], others[2]) - torch.minimum(boxes[0], others[0])
    height = torch.maximum(boxes[3], others[3]) - torch.minimum(boxes[1], others[1])
    enclosing = (width.clamp(min=0) * height.clamp(min=0)).clamp(min=floor)
    return overlap / (union + added) - (enclosing - union) / (enclosing + added)


@torch.no_grad()
def iou_or_gap(boxes: Tensor, others: Tensor) -> Tensor:
    """IoU of broadcast boxes (..., 4) and (..., 4) xyxy -> (...), and GIoU - 1, at most -1, where they do not overlap.

    It works in place and has no gradient.

    >>> iou_or_gap(torch.tensor([0.0, 0.0, 2.0, 2.0]), torch.tensor([[1.0, 0.0, 3.0, 2.0], [6.0, 0.0, 8.0, 2.0]]))
    tensor([ 0.3333, -1.5000])
    """
    first, second = _planes(boxes), _planes(others)
    overlap = _intersection(first, second)
    union = _union(first, second, overlap).clamp_(min=EPSILON)
    width = torch.maximum(first[2], second[2]) - torch.minimum(first[0], second[0])
    height = torch.maximum(first[3], second[3]) - torch.minimum(first[1], second[1])
    enclosing = width.clamp_(min=0).mul_(height.clamp_(min=0)).clamp_(min=EPSILON)
    gap = (union / enclosing).sub_(2).clamp_(max=-1)
    return torch.where(overlap > 0, overlap.div_(union), gap)


def diou(boxes: Tensor, others: Tensor, eps: float = 1e-6) -> Tensor:
    """Distance IoU of broadcast boxes (..., 4) and (..., 4) xyxy -> (...): IoU, less for far centres.

    IoU - d^2 / c^2 (arXiv 1911.08287, eq. 5-7) with the squared distance d^2 of the centres and the squared diagonal c^2 of the
    enclosing box; `eps` is added to both denominators.
    """
    (x1, y1, x2, y2), (u1, v1, u2, v2) = _planes(boxes), _planes(others)
    shared = _intersection((x1, y1, x2, y2), (u1, v1, u2, v2))
    overlap = shared / ((x2 - x1) * (y2 - y1) + (u2 - u1) * (v2 - v1) - shared + eps)
    return overlap - _relative_center_distance((x1, y1, x2, y2), (u1, v1, u2, v2), eps)


def _relative_center_distance(boxes: Planes, others: Planes, eps: float) -> Tensor:
    """Squared distance of the centres by the squared diagonal of the enclosing box plus `eps`."""
    (x1, y1, x2, y2), (u1, v1, u2, v2) = boxes, others
    width, height = torch.maximum(x2, u2) - torch.minimum(x1, u1), torch.maximum(y2, v2) - torch.minimum(y1, v1)
    distance = ((u1 + u2 - x1 - x2) ** 2 + (v1 + v2 - y1 - y2) ** 2) / 4
    return distance / (width**2 + height**2 + eps)


def ciou(boxes: Tensor, others: Tensor, eps: float = 1e-7) -> Tensor:
    """Complete IoU of broadcast boxes (..., 4) and (..., 4) xyxy -> (...): IoU, less for far centres and other shapes.

    IoU - d^2 / c^2 - a v (arXiv 1911.08287, eq. 8-11) with the squared distance d^2 of the centres, the squared diagonal c^2
    of the enclosing box, v = 4 / pi^2 times the squared difference of atan(width / height), and a = v / (1 - IoU + v) without
    gradient. `eps` is added to heights and to whatever divides, as in YOLO's code.
    """
    (x1, y1, x2, y2), (u1, v1, u2, v2) = _planes(boxes), _planes(others)
    width, height, other_width, other_height = x2 - x1, y2 - y1 + eps, u2 - u1, v2 - v1 + eps
    shared = _intersection((x1, y1, x2, y2), (u1, v1, u2, v2))
    overlap = shared / (width * height + other_width * other_height - shared + eps)
    shape = (torch.atan(other_width / other_height) - torch.atan(width / height)) ** 2 * (4 / math.pi**2)
    share = (shape / (1 - overlap + shape + eps)).detach()
    return overlap - _relative_center_distance((x1, y1, x2, y2), (u1, v1, u2, v2), eps) - share * shape


OVERLAPS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {"iou": iou, "ciou": ciou}
"""Measures of how well two boxes fit, 1 at best, by the name that parts know them by."""


def relative_iou(boxes: Tensor, others: Tensor, eps: float = 0.0) -> Tensor:
    """IoU of boxes given as shares of the image, broadcast (..., 4) and (..., 4) xyxy -> (...); else as `relative_giou`."""
    first, second = _proper(boxes), _proper(others)
    overlap = _intersection(first, second)
    return overlap / (_union(first, second, overlap).clamp(min=torch.finfo(overlap.dtype).tiny) + eps)


def relative_giou(boxes: Tensor, others: Tensor, eps: float = 0.0) -> Tensor:
    """Generalised IoU of boxes given as shares of the image, broadcast (..., 4) and (..., 4) xyxy -> (...).

    That of DETR's code, finite for every finite box: `eps` is added to both denominators (0 or, from DAB-DETR on, 1e-6);
    where that leaves 0 / 0, two boxes without area, the overlap counts as none. A box that is inside out has no area.
    """
    return _giou(_proper(boxes), _proper(others), floor=torch.finfo(boxes.dtype).tiny, added=eps)


def _proper(boxes: Tensor) -> Planes:
    """Boxes (..., 4) xyxy whose second corner is not before the first."""
    x1, y1, x2, y2 = _planes(boxes)
    return x1, y1, torch.where(x2 < x1, x1, x2), torch.where(y2 < y1, y1, y2)


def relative_l1(boxes: Tensor, others: Tensor) -> Tensor:
    """Sum of the absolute differences of centre, width and height, broadcast (..., 4) and (..., 4) xyxy -> (...)."""
    measures = [(*center(each).unbind(-1), *sides(each).unbind(-1)) for each in (boxes, others)]
    return reduce(add, ((one - other).abs() for one, other in zip(*measures, strict=True)))


def corner_l1(boxes: Tensor, others: Tensor) -> Tensor:
    """Sum of the absolute differences of the four sides, broadcast (..., 4) and (..., 4) xyxy -> (...)."""
    return reduce(add, ((one - other).abs() for one, other in zip(boxes.unbind(-1), others.unbind(-1), strict=True)))


def covered_share(boxes: Tensor, regions: Tensor) -> Tensor:
    """Share of each of `boxes` (..., 4) that lies in `regions` (..., 4), broadcast -> (...)."""
    return intersection(boxes, regions) / area(boxes).clamp(min=EPSILON)


def squared_distances(points: Tensor, others: Tensor) -> Tensor:
    """Squared distance of every two of points (B, M, 2) and (1 or B, N, 2) -> (B, M, N)."""
    across, down = (p[:, :, None] - o[:, None] for p, o in zip(points.unbind(-1), others.unbind(-1), strict=True))
    return across.square_().add_(down.square_())


def side_distances(points: Tensor, boxes: Tensor) -> Tensor:
    """Distances of points (..., 2) to the left, top, right, bottom of broadcast boxes (..., 4) -> (..., 4)."""
    return torch.cat([points - boxes[..., :2], boxes[..., 2:] - points], dim=-1)


def strictly_inside(points: Tensor, boxes: Tensor) -> Tensor:
    """Whether points (..., 2) lie inside broadcast boxes (..., 4), sides excluded -> (...) bool."""
    return ((points > boxes[..., :2]) & (points < boxes[..., 2:])).all(-1)


def boxes_from_distances(points: Tensor, distances: Tensor) -> Tensor:
    """The inverse of `side_distances`: points (..., 2), distances (..., 4) ltrb -> boxes (..., 4) xyxy."""
    return torch.cat([points - distances[..., :2], points + distances[..., 2:]], dim=-1)


def squares(points: Tensor, side: Tensor) -> Tensor:
    """Squares of `side` (...,) around points (..., 2) -> (..., 4) xyxy."""
    half = side[..., None] / 2
    return torch.cat([points - half, points + half], dim=-1)


def centerness(distances: Tensor) -> Tensor:
    """FCOS centerness (arXiv 1904.01355, eq. 3) of side distances (..., 4) ltrb -> (...) in [0, 1], 0 outside."""
    sides = distances.clamp(min=0).unflatten(-1, (2, 2))  # (..., left-top | right-bottom, x | y)
    longest = sides.amax(-2).clamp(min=torch.finfo(distances.dtype).tiny)
    return (sides.amin(-2) / longest).prod(-1).sqrt()

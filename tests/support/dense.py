"""Dense golden inputs as `Predictions` and `Targets`."""

import torch

from detassign.assigners import Predictions, Targets
from detassign.assigners.boxes import boxes_from_distances


def grid(sizes, strides, offset=0.5):
    """Points (N, 2), strides (N,), level sizes of feature maps (h, w)."""
    points, stride_of = [], []
    for (height, width), stride in zip(sizes, strides, strict=True):
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        points.append((torch.stack([x, y], -1).reshape(-1, 2) + offset) * float(stride))
        stride_of.append(torch.full((height * width,), float(stride)))
    return torch.cat(points), torch.cat(stride_of), tuple(len(p) for p in points)


def flat(maps):
    """Level maps (B, K, h, w) as one (B, N, K) tensor."""
    return torch.cat([m.flatten(2).transpose(1, 2) for m in maps], 1)


def targets_of(case, images):
    """The golden case's targets of `images` images."""
    boxes = [case.tensor(f"gt/{i}/boxes").reshape(-1, 4) for i in range(images)]
    return Targets.from_lists(boxes, [case.tensor(f"gt/{i}/labels").long() for i in range(images)])


def point_predictions(case, cls, reg, obj, *, unit="pixels", offset=0.5):
    """Predictions from level maps of logits, side distances and a second branch; distances in pixels or in strides."""
    sizes = [tuple(m.shape[-2:]) for m in cls]
    strides = case.config.get("strides") or case.config["head"].get("strides", (8, 16, 32, 64, 128))
    points, stride_of, level_sizes = grid(sizes, strides, offset)
    distances = flat(reg)
    if unit == "strides":
        distances = distances * stride_of[:, None]
    objectness = flat(obj)[..., 0] if obj else None
    return Predictions(flat(cls), boxes_from_distances(points, distances), objectness, points, stride_of, level_sizes)

"""Hand-made pyramids and targets small enough to work out on paper."""

from dataclasses import fields, replace

import torch
from support.dense import grid

from detassign.assigners import Predictions, Targets
from detassign.bench.stand_in import GPU, stand_in


def pyramid(*sizes_and_strides, classes=3, images=1, **parts):
    """Predictions on maps given as (height, width, stride): zero logits, boxes of one stride around each point."""
    sizes = [(height, width) for height, width, _ in sizes_and_strides]
    points, strides, level_sizes = grid(sizes, [stride for *_, stride in sizes_and_strides])
    half = strides[:, None] / 2
    boxes = torch.cat([points - half, points + half], -1).expand(images, -1, -1).clone()
    given = {
        "logits": torch.zeros(images, len(points), classes),
        "boxes": boxes,
        "objectness": torch.zeros(images, len(points)),
        "points": points,
        "strides": strides,
        "level_sizes": level_sizes,
    }
    return Predictions(**{**given, **parts})


def one_image(*boxes_and_labels, ignore=None):
    """Targets of one image from (x1, y1, x2, y2, label) each."""
    table = torch.tensor(boxes_and_labels, dtype=torch.float32).reshape(-1, 5)
    ignored = None if ignore is None else [torch.tensor(ignore, dtype=torch.float32).reshape(-1, 4)]
    return Targets.from_lists([table[:, :4]], [table[:, 4].long()], ignored, torch.tensor([[64.0, 64.0]]))


def pairs(matches):
    """The pairs as a set of (image, sample, target)."""
    return set(zip(matches.image.tolist(), matches.sample.tolist(), matches.target.tolist(), strict=True))


def samples_of(matches, target=0, image=0):
    """Sorted sample indices of one target."""
    return sorted(s for i, s, t in pairs(matches) if (i, t) == (image, target))


def waits(matching, predictions, targets):
    """How often the host waits while a matching finds its pairs on a GPU, seen on a stand-in for one."""
    tensors = {f.name: getattr(predictions, f.name) for f in fields(predictions)}
    with stand_in() as record:
        moved = {name: t.to(GPU, non_blocking=True) for name, t in tensors.items() if isinstance(t, torch.Tensor)}
        predictions, targets = replace(predictions, **moved), targets.to(GPU)
        record.clear()
        matching(predictions, targets)
    assert not record.mixed
    return sum(record.waits.values())

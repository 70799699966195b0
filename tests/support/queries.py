"""Golden inputs of query detectors as `Predictions` and `Targets`: boxes are recorded as shares of the image."""

import torch

from detassign.assigners import Predictions, Targets

SIZE = (640.0, 480.0)  # pixels of every image: whatever it is, shares of it must come out the same


def pixels(boxes) -> torch.Tensor:
    """Boxes (..., 4) cxcywh, shares -> xyxy, pixels."""
    center, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat([center - half, center + half], -1) * torch.tensor(SIZE).repeat(2)


def query_targets(case, prefix, images) -> Targets:
    """The targets recorded under prefix/<image>/{boxes,labels}."""
    boxes = [pixels(case.tensor(f"{prefix}/{i}/boxes").reshape(-1, 4)) for i in range(images)]
    labels = [case.tensor(f"{prefix}/{i}/labels").long() for i in range(images)]
    return Targets.from_lists(boxes, labels, sizes=torch.tensor(SIZE).expand(images, 2))


def query_predictions(case, logits, boxes) -> Predictions:
    """The predictions recorded under two keys."""
    return Predictions(case.tensor(logits), pixels(case.tensor(boxes)))

"""Assignments and what they say, small enough to work out on paper."""

import numpy as np
import torch

from detassign.assigners import Assignment, Matches
from detassign.evidence.telemetry.learnt import Learnt


def assignment(pairs, shape):
    """An assignment of pairs (image, sample, target, w⁺) on (B, N, C) predictions."""
    image, sample, target = (torch.tensor([pair[place] for pair in pairs], dtype=torch.long) for place in range(3))
    weight = torch.tensor([pair[3] for pair in pairs], dtype=torch.float32)
    matches = Matches(image, sample, target, torch.ones(len(pairs)))
    return Assignment(matches, weight, torch.zeros(shape), weight, torch.ones(3))


def image(*pairs, samples=6, objects=2, layers=1, final=None, iou=None, score=None):
    """What was learnt of an image, from pairs (layer, sample, target, w⁺)."""
    columns = [np.array([pair[place] for pair in pairs], dtype=np.int64) for place in range(3)]
    weight = np.array([pair[3] for pair in pairs], dtype=float)
    level, values = np.zeros(len(pairs), dtype=np.int64), np.linspace(0.1, 0.9, len(pairs))
    final = layers - 1 if final is None else final
    scores = values if score is None else np.array(score), values if iou is None else np.array(iou)
    return Learnt(samples, objects, layers, final, *columns, level, weight, *scores)

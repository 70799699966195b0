"""A dense detector so small that a training step takes a moment."""

import torch
from torch import nn

from detassign.detectors import DenseDetector
from detassign.heads import DenseHead


class Pyramid(nn.Module):
    """Two levels, strides 8 and 16."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 8, 8), nn.Conv2d(8, 8, 2, 2)

    def forward(self, images):
        first = self.first(images)
        return first, self.second(first)


def dense_detector(assigner="dw", classes=2, post_process=None):
    """On a pyramid of two levels, with one convolution in each branch."""
    torch.manual_seed(0)
    head = DenseHead(classes, 8, assigner, feat_channels=8, stacked_convs=1, strides=(8, 16), norm_groups=2)
    return DenseDetector(Pyramid(), None, head, post_process)

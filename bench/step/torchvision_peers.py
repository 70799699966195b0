"""torchvision's own dense detectors as peers, the same layers frozen as in ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from torch import Tensor, nn
from torchvision.models import resnet50
from torchvision.models.detection import FCOS, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.ops import FrozenBatchNorm2d
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from ...configs.detectors.parts import STRIDES
from .conditions import CLASSES, Conditions
from .contender import Contender, wrapped


class TrainedAsMmengine(nn.Module):
    """A torchvision detector under mmengine's `train_step` and `test_step`: images (3, H, W) uint8 and samples in.

    Args:
        detector: images and targets in training -> losses by name.
    """

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.detector = detector

    def train_step(self, data: Mapping[str, Any], optimizer: OptimWrapper) -> dict[str, Tensor]:
        device = next(self.parameters()).device
        images = [image.to(device).float() / 255 for image in data["inputs"]]
        targets = [
            {"boxes": each.bboxes.to(device), "labels": each.labels.to(device)}
            for each in (sample.gt_instances for sample in data["data_samples"])
        ]
        with optimizer.optim_context(self):
            losses = self.detector(images, targets)
        optimizer.update_params(sum(losses.values()))
        return losses

    def test_step(self, data: Mapping[str, Any]) -> list[dict[str, Tensor]]:
        """Detections of images (3, H, W) uint8, in evaluation."""
        device = next(self.parameters()).device
        return self.detector([image.to(device).float() / 255 for image in data["inputs"]])


def torchvision_fcos(conditions: Conditions) -> Contender:
    """FCOS R50 as torchvision builds it."""
    return _in_training(FCOS, conditions)


def torchvision_retinanet(conditions: Conditions) -> Contender:
    """RetinaNet R50 with one square anchor a cell, of eight strides, and norms in the head; the usual has nine and none."""
    anchors = AnchorGenerator(tuple((8 * stride,) for stride in STRIDES), ((1.0,),) * len(STRIDES))
    head = RetinaNetHead(256, 1, CLASSES, norm_layer=partial(nn.GroupNorm, 32))
    return _in_training(partial(RetinaNet, anchor_generator=anchors, head=head), conditions)


def _in_training(kind: Callable[..., nn.Module], conditions: Conditions) -> Contender:
    """With frozen norms and first stages, and the SGD of torchvision's own training."""
    body = resnet50(weights=None, norm_layer=FrozenBatchNorm2d)
    backbone = _resnet_fpn_extractor(body, 3, returned_layers=[2, 3, 4], extra_blocks=LastLevelP6P7(256, 256))
    sizes = {"min_size": min(conditions.size), "max_size": max(conditions.size)}  # images stay as they are
    model = TrainedAsMmengine(kind(backbone, CLASSES, **sizes)).to(conditions.device)
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(learning, lr=0.01, momentum=0.9, weight_decay=1e-4)
    return Contender(model, wrapped(optimizer, conditions, clip=None))

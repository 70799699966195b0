"""What is exported: a detector with or without its post-processing, as a module from tensors to tensors."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor, nn

from ...heads.wide import WideLinear
from ...ops import portable_ops
from ..build import Detector
from .metadata import OUTPUTS
from .padded import PaddedPostProcess

NARROW = torch.float16
NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)
HEAVY = (nn.Linear, nn.Conv2d, nn.Embedding)
DETECTIONS, RAW = OUTPUTS, OUTPUTS[:2]  # names of outputs


class Network(nn.Module):
    """A detector on a padded batch.

    Args:
        model: trained; its weights become narrow with `half`, and no parameter keeps a gradient.
        post_process: None gives what the head says, undecided.
        half: layers with weights compute in float16; what is decided from them, boxes and scores, stays float32.
    """

    def __init__(self, model: Detector, post_process: PaddedPostProcess | None, half: bool = False) -> None:
        super().__init__()
        self.model, self.post_process, self.half_precision = model.eval().requires_grad_(False), post_process, half
        if half:
            narrow(model)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what it gives."""
        return RAW if self.post_process is None else DETECTIONS

    def forward(self, images: Tensor, sizes: Tensor) -> tuple[Tensor, ...]:
        """Detections, see `PaddedPostProcess`; or boxes (B, N, 4) and scores (B, N, C), both float32.

        Args:
            images: (B, 3, H, W) float32, normalised, 0 where an image ends.
            sizes: (B, 2) float32, width and height of each image, pixels.
        """
        with portable_ops():
            with torch.autocast(images.device.type, NARROW) if self.half_precision else nullcontext():
                predictions = self.model.predictions_within(images, sizes)
            scores, factor = self.model.bbox_head.scores(predictions)
            boxes = predictions.boxes.float()
            if self.post_process is None:
                return boxes, (scores if factor is None else scores * factor[..., None]).float()
            return self.post_process(scores.float(), factor, boxes, predictions.level_sizes, sizes)


def narrow(model: nn.Module) -> None:
    """Weights of layers in float16, but for each `WideLinear`.

    Norms take what they are given in it, as ONNX has no norm of two types.
    """
    for module in model.modules():
        heavy = isinstance(module, HEAVY) and not isinstance(module, WideLinear)
        if heavy or isinstance(module, NORMS) or hasattr(module, "in_proj_weight"):
            for parameter in module.parameters(recurse=False):
                parameter.data = parameter.data.to(NARROW)
        if isinstance(module, NORMS):
            for name, buffer in module.named_buffers(recurse=False):
                if buffer.is_floating_point():
                    setattr(module, name, buffer.to(NARROW))
            module.register_forward_pre_hook(lambda module, given: tuple(each.to(NARROW) for each in given))

"""Hugging Face's own query detectors as peers, built without downloads, the same layers frozen as in ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from torch import Tensor, nn
from torchvision.ops import box_convert

from .conditions import CLASSES, Conditions
from .contender import Contender, wrapped

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
FROZEN = ("embedder.", "encoder.stages.0.")  # of a ResNet; theirs freezes by names that this one does not have
DROPOUTS = ("dropout", "attention_dropout", "activation_dropout")  # ours and mmdet's have all three
SHARED = {"auxiliary_loss": True, "num_labels": CLASSES}
DEFORMABLE = {"disable_custom_kernels": True, "encoder_ffn_dim": 1024, "decoder_ffn_dim": 1024}


class TrainedAsMmengine(nn.Module):
    """A query detector of theirs under mmengine's `train_step` and `test_step`: images (3, H, W) uint8 and samples in.

    Args:
        detector: pixel values and labels -> an output with the loss.
    """

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.detector = detector
        for name, values in {"mean": MEAN, "std": STD}.items():
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)

    def train_step(self, data: Mapping[str, Any], optimizer: OptimWrapper) -> dict[str, Tensor]:
        device, images = self.mean.device, self._images(data)
        height, width = images.shape[-2:]
        scale = torch.tensor([width, height, width, height], dtype=torch.float)
        labels = [
            {
                "class_labels": sample.gt_instances.labels.to(device),
                "boxes": (box_convert(sample.gt_instances.bboxes, "xyxy", "cxcywh") / scale).to(device),
            }
            for sample in data["data_samples"]
        ]
        with optimizer.optim_context(self):
            loss = self.detector(pixel_values=images, labels=labels).loss
        optimizer.update_params(loss)
        return {"loss": loss}

    def test_step(self, data: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """Logits and boxes of images (3, H, W) uint8, in evaluation, undecided."""
        found = self.detector(pixel_values=self._images(data))
        return found.logits, found.pred_boxes

    def _images(self, data: Mapping[str, Any]) -> Tensor:
        return (torch.stack(data["inputs"]).to(self.mean.device) / 255 - self.mean) / self.std


def transformers_model(
    name: str, conditions: Conditions, maps: int = 1, dropout: float = 0.1, **settings: Any
) -> Contender:
    """A detector of theirs on ResNet-50.

    Args:
        name: of its class, without ForObjectDetection: "Detr", "ConditionalDetr", "DeformableDetr", "DabDetr".
        conditions: of the measurement.
        maps: of the backbone that it takes, the coarsest ones.
        dropout: of sublayers, attention weights and hidden layers.
        settings: of its config.
    """
    import transformers

    stages = [f"stage{number}" for number in range(5 - maps, 5)]
    backbone = transformers.ResNetConfig(depths=[3, 4, 6, 3], layer_type="bottleneck", out_features=stages)
    kind = getattr(transformers, f"{name}ForObjectDetection")
    settings |= SHARED | dict.fromkeys(DROPOUTS, dropout)
    config = getattr(transformers, f"{name}Config")(backbone_config=backbone, **settings)
    model = TrainedAsMmengine(kind(config))
    groups: dict[str, list[nn.Parameter]] = {"backbone": [], "others": []}
    for parameter_name, parameter in model.named_parameters():
        inside = ".backbone." in parameter_name
        parameter.requires_grad_(not (inside and any(part in parameter_name for part in FROZEN)))
        if parameter.requires_grad:
            groups["backbone" if inside else "others"].append(parameter)
    model.to(conditions.device)
    rates = [{"params": groups["others"]}, {"params": groups["backbone"], "lr": 1e-5}]
    optimizer = torch.optim.AdamW(rates, lr=1e-4, weight_decay=1e-4, fused=True)
    return Contender(model, wrapped(optimizer, conditions, clip=0.1))

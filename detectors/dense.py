"""The dense detector: backbone, neck, dense head, post-processing."""

from __future__ import annotations

import torch
from mmdet.models import BaseDetector
from mmdet.structures import DetDataSample
from torch import Tensor, nn

from ..assigners import Predictions
from ..assigners.description import constants
from ..heads import DenseHead, PostProcess
from ..heads.postprocess import DENSE_NMS
from .observer import Observation, Observer, observed
from .preprocessor import Preprocessor
from .targets import detected, targets_on


class DenseDetector(BaseDetector):
    """One-stage detector over built parts.

    Args:
        backbone: images (B, 3, H, W) -> tuple of feature maps.
        neck: those -> tuple of pyramid levels, one per stride of the head; None passes them on.
        head: predictions and losses.
        post_process: settings of inference; NMS that is left open follows the assigner.
        preprocessor: batching, normalisation and padding.
    """

    def __init__(
        self,
        backbone: nn.Module,
        neck: nn.Module | None,
        head: DenseHead,
        post_process: PostProcess | None = None,
        preprocessor: Preprocessor | None = None,
    ) -> None:
        super().__init__(data_preprocessor=preprocessor or Preprocessor())
        self.backbone = backbone
        self.neck = neck
        self.bbox_head = head  # the name in mmdet's checkpoints
        self.post_process = (post_process or PostProcess()).following(head.assigner.cardinality, DENSE_NMS)
        self.observer: Observer | None = None
        """Called in training after each assignment that it says is due."""

    extra_repr = constants

    def extract_feat(self, batch_inputs: Tensor) -> list[Tensor]:
        """Pyramid levels of images (B, 3, H, W)."""
        features = self.backbone(batch_inputs)
        return list(features if self.neck is None else self.neck(features))

    def predictions(self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample] | None = None) -> Predictions:
        """What the head says of images (B, 3, H, W), undecided; points need to know no sizes."""
        return self.bbox_head(self.extract_feat(batch_inputs))

    def predictions_within(self, images: Tensor, sizes: Tensor) -> Predictions:
        """The same of images whose valid sizes (B, 2) are a tensor, as an exported network is given them."""
        return self.predictions(images)

    def loss(self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample]) -> dict[str, Tensor]:
        """The head's losses, and beside them, for the log, what each sum was divided by (norm_pos, norm_neg, norm_box)."""
        targets = targets_on(batch_inputs.device, batch_data_samples, self.bbox_head.num_classes)
        predictions = self.predictions(batch_inputs)
        with observed(self.observer, batch_inputs, batch_data_samples) as report:
            assignment, losses = self.bbox_head.assign_and_loss(predictions, targets)
            report(assignment, lambda: (predictions, targets))
        return losses | dict(zip(("norm_pos", "norm_neg", "norm_box"), assignment.normalizers, strict=True))

    @torch.no_grad()
    def assigned(self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample]) -> Observation:
        """Who would learn what of images (B, 3, H, W), from what the head that detects says of them."""
        targets = targets_on(batch_inputs.device, batch_data_samples, self.bbox_head.num_classes)
        predictions = self.predictions(batch_inputs)
        return Observation(
            self.bbox_head.assigner(predictions, targets), lambda: (predictions, targets), batch_data_samples
        )

    @torch.no_grad()
    def predict(
        self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample], rescale: bool = True
    ) -> list[DetDataSample]:
        predictions = self.predictions(batch_inputs, batch_data_samples)
        return detected(self.bbox_head, self.post_process, predictions, batch_data_samples, rescale)

    def _forward(
        self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample] | None = None
    ) -> tuple[Tensor, ...]:
        predictions = self.predictions(batch_inputs)
        scores, factor = self.bbox_head.scores(predictions)
        return predictions.boxes, scores if factor is None else scores * factor[..., None]

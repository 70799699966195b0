"""The dense detector: backbone, neck, dense head, post-processing."""

from __future__ import annotations

import time
from typing import Protocol

import torch
from mmdet.models import BaseDetector, DetDataPreprocessor
from mmdet.structures import DetDataSample
from torch import Tensor, nn

from ..assigners import Assignment, Predictions, Targets
from ..heads import DenseHead, PostProcess
from .targets import targets_of, with_detections


class Observer(Protocol):
    """Something that watches a detector's assignments in training."""

    def due(self) -> bool:
        """Whether to watch the coming step."""

    def __call__(self, assignment: Assignment, targets: Targets, seconds: float) -> None:
        """Look at one assignment and the seconds that it and the loss took."""


class DenseDetector(BaseDetector):
    """One-stage detector over built parts.

    Args:
        backbone: images (B, 3, H, W) -> tuple of feature maps.
        neck: those -> tuple of pyramid levels, one per stride of the head; None passes them on.
        head: predictions and losses.
        post_process: settings of inference.
        preprocessor: mmdet's batching, normalisation and padding.
    """

    def __init__(
        self,
        backbone: nn.Module,
        neck: nn.Module | None,
        head: DenseHead,
        post_process: PostProcess | None = None,
        preprocessor: DetDataPreprocessor | None = None,
    ) -> None:
        super().__init__(data_preprocessor=preprocessor or DetDataPreprocessor())
        self.backbone = backbone
        self.neck = neck
        self.bbox_head = head  # the name in mmdet's checkpoints
        self.post_process = post_process or PostProcess()
        self.observer: Observer | None = None
        """Called in training after each assignment that it says is due."""

    def extract_feat(self, batch_inputs: Tensor) -> list[Tensor]:
        """Pyramid levels of images (B, 3, H, W)."""
        features = self.backbone(batch_inputs)
        return list(features if self.neck is None else self.neck(features))

    def predictions(self, batch_inputs: Tensor) -> Predictions:
        """What the head says of images (B, 3, H, W), undecided."""
        return self.bbox_head(self.extract_feat(batch_inputs))

    def loss(self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample]) -> dict[str, Tensor]:
        """The head's losses, and beside them, for the log, what each sum was divided by (norm_pos, norm_neg, norm_box)."""
        predictions, targets = self.predictions(batch_inputs), targets_of(batch_data_samples)
        watched = self.observer is not None and self.observer.due()
        started = _now(batch_inputs) if watched else 0.0
        assignment, losses = self.bbox_head.assign_and_loss(predictions, targets)
        if watched:
            self.observer(assignment, targets, _now(batch_inputs) - started)
        return losses | dict(zip(("norm_pos", "norm_neg", "norm_box"), assignment.normalizers, strict=True))

    @torch.no_grad()
    def predict(
        self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample], rescale: bool = True
    ) -> list[DetDataSample]:
        predictions = self.predictions(batch_inputs)
        scores, factor = self.bbox_head.scores(predictions)
        return [
            with_detections(sample, self.post_process(scores, factor, predictions, image, sample.img_shape), rescale)
            for image, sample in enumerate(batch_data_samples)
        ]

    def _forward(
        self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample] | None = None
    ) -> tuple[Tensor, ...]:
        predictions = self.predictions(batch_inputs)
        scores, factor = self.bbox_head.scores(predictions)
        return predictions.boxes, scores if factor is None else scores * factor[..., None]


def _now(like: Tensor) -> float:
    """Seconds on a clock that has waited for the device."""
    if like.is_cuda:
        torch.cuda.synchronize(like.device)
    return time.perf_counter()

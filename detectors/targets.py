"""Between mmdet's data samples and the assigners' tensors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor

from ..assigners import Predictions, Targets
from ..heads import DenseHead, Detections, PostProcess, QueryHead


def targets_on(device: torch.device, samples: Sequence[DetDataSample], num_classes: int) -> Targets:
    """The ground truth of a batch on the device that trains, its labels and boxes checked before they go there.

    Raises:
        ValueError: for a label that is none of the `num_classes`, and for boxes as of `Targets.check_boxes`.
    """
    targets = targets_of(samples)
    targets.check_labels(num_classes)  # on a GPU this would be a wait
    targets.check_boxes()
    return targets.to(device)


def targets_of(samples: Sequence[DetDataSample]) -> Targets:
    """The ground truth of a batch, padded, with the sizes of the valid images; crowd regions become ignore boxes."""
    instances = [sample.gt_instances for sample in samples]
    ignored = [sample.ignored_instances.bboxes for sample in samples if "ignored_instances" in sample]
    use_ignored = len(ignored) == len(samples) and any(len(boxes) for boxes in ignored)
    return Targets.from_lists(
        [instance.bboxes for instance in instances],
        [instance.labels for instance in instances],
        ignored if use_ignored else None,
        sizes_of(samples),
    )


def sizes_of(samples: Sequence[DetDataSample]) -> Tensor:
    """(B, 2) float width and height of the images without padding, pixels."""
    return torch.tensor([sample.img_shape[1::-1] for sample in samples], dtype=torch.float)


def detected(
    head: DenseHead | QueryHead,
    post_process: PostProcess,
    predictions: Predictions,
    samples: Sequence[DetDataSample],
    rescale: bool = True,
) -> list[DetDataSample]:
    """The samples carrying what is detected in each image of a batch, from what the head said of it."""
    scores, factor = head.scores(predictions)
    return [
        with_detections(sample, post_process(scores, factor, predictions, image, sample.img_shape), rescale)
        for image, sample in enumerate(samples)
    ]


def with_detections(sample: DetDataSample, found: Detections, rescale: bool) -> DetDataSample:
    """The sample carrying its detections, in pixels of the original image if `rescale`."""
    boxes = found.boxes / found.boxes.new_tensor(scale_of(sample)).repeat(2) if rescale else found.boxes
    sample.pred_instances = InstanceData(bboxes=boxes, scores=found.scores, labels=found.labels)
    return sample


def scale_of(sample: DetDataSample) -> tuple[float, float]:
    """By how much the network's image is wider and higher than the original."""
    width, height = sample.metainfo.get("scale_factor", (1.0, 1.0))
    return width, height

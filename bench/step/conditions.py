"""What holds for every side of a measurement, and the batch that all of them train on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from ...data import DataSource

CLASSES = 80


@dataclass(frozen=True)
class Conditions:
    """What holds for every side.

    Attributes:
        size: height and width, pixels.
        precision: float32 or bfloat16, of the network.
        peer_precisions: of the peers, each of which stands there once in every one; empty where theirs is ours.
    """

    size: tuple[int, int] = (320, 416)
    batch: int = 2
    objects: int = 20
    device: str = "cpu"
    precision: str = "float32"
    steps: int = 7
    peer_precisions: tuple[str, ...] = ()

    @property
    def dtype(self) -> torch.dtype:
        return getattr(torch, self.precision)

    def to_dict(self) -> dict[str, Any]:
        told = {**asdict(self), "threads": torch.get_num_threads(), "torch": torch.__version__}
        return {key: value for key, value in told.items() if value != ()}


def simulated_source() -> DataSource:
    """A data set of CLASSES classes that lies nowhere, for configs whose batches are simulated."""
    nowhere, names = Path("."), tuple(f"class {index}" for index in range(CLASSES))
    return DataSource("simulated", nowhere, nowhere, nowhere, nowhere, names, tuple(range(CLASSES)))


def make_batch(conditions: Conditions) -> dict[str, Any]:
    """Random images and objects as a loader hands them to mmengine's models, on the host."""
    generator = torch.Generator().manual_seed(0)
    height, width = conditions.size
    images = torch.randint(0, 256, (conditions.batch, 3, height, width), dtype=torch.uint8, generator=generator)
    samples = [_sample(conditions, generator) for _ in images]
    return {"inputs": list(images), "data_samples": samples}


def _sample(conditions: Conditions, generator: torch.Generator) -> DetDataSample:
    height, width = conditions.size
    scale = torch.tensor([width, height], dtype=torch.float)
    corner = torch.rand(conditions.objects, 2, generator=generator) * 0.7
    extent = torch.rand(conditions.objects, 2, generator=generator) * 0.25 + 0.05
    labels = torch.randint(0, CLASSES, (conditions.objects,), generator=generator)
    sample = DetDataSample(metainfo={"img_shape": (height, width), "ori_shape": (height, width), "img_id": 0})
    sample.set_metainfo({"pad_shape": (height, width), "scale_factor": (1.0, 1.0)})
    boxes = torch.cat((corner, corner + extent), 1) * scale.repeat(2)
    sample.gt_instances = InstanceData(bboxes=boxes, labels=labels)
    return sample

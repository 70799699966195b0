"""Query detectors of every family, so small that a training step takes a moment, and batches for them."""

from dataclasses import replace

import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from support.detr import FAMILIES
from torch import nn

from detassign.configs.detectors.query_parts import Size
from detassign.detectors import QueryDetector
from detassign.detectors.extra import Host
from detassign.engine.build import build_parts
from detassign.engine.config import plain

SMALL = Size(
    channels=16, heads=2, hidden=24, encoder_layers=1, decoder_layers=3, queries=12, norm_groups=4, points=2, select=20
)
CLASSES = 4
VARIANTS = {
    "detr": ("detr", {}),
    "detr_prenorm": ("detr", {"pre_norm": True}),
    "conditional_detr": ("conditional_detr", {}),
    "deformable_detr": ("deformable_detr", {}),
    "deformable_detr_single_scale": ("deformable_detr", {"extra": 0}),
    "deformable_detr_refine": ("deformable_detr", {"refine": True}),
    "deformable_detr_two_stage": ("deformable_detr", {"refine": True, "two_stage": True}),
    "dab_detr": ("dab_detr", {}),
    "dab_detr_patterns": ("dab_detr", {"patterns": 3}),
    "dab_deformable_detr": ("dab_deformable_detr", {}),
    "dn_detr": ("dn_detr", {}),
    "dn_detr_patterns": ("dn_detr", {"patterns": 3}),
    "dn_dab_deformable_detr": ("dn_dab_deformable_detr", {}),
    "dn_dab_deformable_encoder_only": ("dn_dab_deformable_encoder_only", {"activation": "prelu"}),
    "dn_dab_dino_deformable_detr": ("dn_dab_dino_deformable_detr", {}),
    "dino_4scale": ("dino", {}),
    "dino_unshared_heads": ("dino", {"shared": False, "content": "memory"}),
}  # families (names of support.detr.FAMILIES) and options
DENSE = ("detr", "detr_prenorm", "conditional_detr", "dab_detr", "dab_detr_patterns", "dn_detr", "dn_detr_patterns")
KINDS = {"none": None, "dn": {"denoising": "dn"}, "cdn": {"denoising": {"type": "cdn", "queries": 20}}}
OWN = object()


class Pyramid(nn.Module):
    """Maps at stride 8, 16 and 32, or the middle one alone."""

    def __init__(self, single):
        super().__init__()
        self.first, self.second, self.third = nn.Conv2d(3, 8, 8, 8), nn.Conv2d(8, 8, 2, 2), nn.Conv2d(8, 8, 2, 2)
        self.single = single

    def forward(self, images):
        first = self.first(images)
        second = self.second(first)
        return (second + 0 * self.third(second).mean(),) if self.single else (first, second, self.third(second))


def detector(variant, denoising=OWN, size=SMALL, assigner=None, extra=None):
    """A small detector (names of VARIANTS); `denoising` is a key of KINDS or the family's own."""
    torch.manual_seed(0)
    name, options = VARIANTS[variant]
    single = variant in (*DENSE, "deformable_detr_single_scale")
    family = FAMILIES[name]
    description = plain(family.make({}, (8,) if single else (8, 8, 8), size, **family.options, **options))
    own = {"num_classes": CLASSES, "home": description["head"]["assigner"]}
    description["head"] |= own | ({"assigner": assigner} if assigner else {})
    arguments = description["denoising"] if denoising is OWN else _changed(description["denoising"], KINDS[denoising])
    parts = build_parts({**description, "backbone": None, "preprocessor": None})
    return QueryDetector(Pyramid(single), denoising=arguments, extra=extra, **parts)


def _changed(own, kind):
    return None if kind is None else {**(own or {}), **kind}


def host():
    """The parts of a detector that extras are built for, of channels that the usual norms can share."""
    model = detector("dino_4scale", size=replace(SMALL, channels=32))
    return Host(model.queries, model.decoder, model.bbox_head, levels=4)


def batch(*counts, size=(64, 96), seed=0):
    """Images (B, 3, H, W) and samples with so many objects each; every second image is smaller than the batch."""
    generator = torch.Generator().manual_seed(seed)
    images, samples = torch.rand(len(counts), 3, *size, generator=generator), []
    for index, count in enumerate(counts):
        shape = size if index % 2 == 0 else (size[0] - 16, size[1] - 24)
        centers = torch.rand(count, 2, generator=generator) * 0.6 + 0.2
        halves = torch.rand(count, 2, generator=generator) * 0.15 + 0.05
        scale = torch.tensor([shape[1], shape[0]])
        sample = DetDataSample(
            metainfo={"img_shape": shape, "ori_shape": shape, "scale_factor": (1.0, 1.0), "batch_input_shape": size}
        )
        sample.gt_instances = InstanceData(
            bboxes=torch.cat([(centers - halves) * scale, (centers + halves) * scale], -1),
            labels=torch.randint(0, CLASSES, (count,), generator=generator),
        )
        samples.append(sample)
    return images, samples


def total(losses):
    return sum(value for name, value in losses.items() if name.startswith("loss"))

"""Which systems are measured, and whose models stand beside ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.util import find_spec
from itertools import product
from typing import Any

import torch

from ...configs.detectors import query_parts as parts
from ...configs.detectors.backbones import resnet
from ...engine.config import compose, read_recipe
from ...ops._library import has_kernels
from .conditions import Conditions, simulated_source
from .contender import ADAMW, SGD, Contender, ours
from .mmdet_peers import mmdet_model
from .torchvision_peers import torchvision_fcos, torchvision_retinanet
from .transformers_peers import DEFORMABLE, transformers_model

PYRAMID, COARSEST = (512, 1024, 2048), (2048,)
OURS, MMDET, MMDET_OUR_KERNEL = "detassign", "mmdet", "mmdet, our kernel"
TORCHVISION, TRANSFORMERS = "torchvision", "Hugging Face"
PACKAGES = {TRANSFORMERS: "transformers"}  # peers whose package may not be there
PRESETS = {"retinanet": "max_iou"}  # families that are not named as the assigner that they stand for
FROZEN_NORMS = {"model.backbone.norm_cfg.requires_grad": False}
AS_RETINANET = {  # one anchor a cell and norms in the head, as on all sides here; RetinaNet has nine and none
    "model.bbox_head.anchor_generator.ratios": [1.0],
    "model.bbox_head.anchor_generator.scales_per_octave": 1,
    "model.bbox_head.anchor_generator.octave_base_scale": 8,
    "model.bbox_head.norm_cfg": {"type": "GN", "num_groups": 32, "requires_grad": True},
}

Make = Callable[[Conditions], Contender]


@dataclass(frozen=True)
class Family:
    """One system on all sides.

    Attributes:
        model: arguments of ours, described as a fragment does.
        peers: by name, what makes them.
        training: what optimizes ours.
    """

    model: Mapping[str, Any]
    peers: Mapping[str, Make]
    training: Mapping[str, Any] = field(default_factory=lambda: ADAMW)

    def sides(self, precisions: Sequence[str] = ()) -> dict[str, Make]:
        """Ours, and the peers that are there, by name; each peer once in every precision, where any are given."""
        there = {name: make for name, make in self.peers.items() if name not in self.missing()}
        if precisions:
            there = {
                f"{name} in {precision}": partial(_in_precision, make, precision)
                for (name, make), precision in product(there.items(), precisions)
            }
        return {OURS: partial(ours, self.model, training=self.training), **there}

    def missing(self) -> tuple[str, ...]:
        """The peers whose package is not installed."""
        absent = {name for name, package in PACKAGES.items() if find_spec(package) is None}
        return tuple(name for name in self.peers if name in absent)


def measurable(names: Sequence[str], say: Callable[[str], None]) -> dict[str, Family]:
    """The named families.

    Args:
        names: of families.
        say: is told which peers are missing.

    Raises:
        ValueError: for an unknown family.
    """
    chosen = {name: known(name) for name in names}
    for name, family in chosen.items():
        for peer in family.missing():
            say(f"{name} beside {peer} is left out: pip install {PACKAGES[peer]}")
    return chosen


def make_side(family: str, side: str, conditions: Conditions) -> Contender:
    """One side of a family by name, ready to train; for a process of its own."""
    torch.manual_seed(0)
    return known(family).sides(conditions.peer_precisions)[side](conditions)


def _in_precision(make: Make, precision: str, conditions: Conditions) -> Contender:
    return make(replace(conditions, precision=precision))


def known(name: str) -> Family:
    """A family by name.

    Raises:
        ValueError: for an unknown one.
    """
    every = families()
    if name not in every:
        raise ValueError(f"families: expected some of {', '.join(every)}, got {name!r}")
    return every[name]


def families() -> dict[str, Family]:
    """The systems measured, with the published widths; dropout as mmdet's configs have it."""
    return {**query_families(), **dense_families()}


def query_families() -> dict[str, Family]:
    """DETR and its descendants."""
    plain_size, focal_size = parts.Size(queries=100, dropout=0.1), parts.Size(queries=300, dropout=0.1)
    deformable_size = parts.Size(queries=300, dropout=0.1, hidden=1024)
    (pyramid, _), (coarsest, _) = resnet(50, maps=3), resnet(50)
    two_stage = parts.deformable_detr(pyramid, PYRAMID, deformable_size, refine=True, two_stage=True)
    refined = "deformable_detr/deformable-detr-refine-twostage_r50_16xb2-50e_coco.py"
    return {
        "dino": Family(
            parts.dino(pyramid, PYRAMID, parts.Size(queries=900), shared=False),  # mmdet has heads for every layer
            _deformable("dino/dino-4scale_r50_8xb2-12e_coco.py"),
        ),
        "deformable_detr": Family(
            parts.deformable_detr(pyramid, PYRAMID, deformable_size),
            {
                **_deformable("deformable_detr/deformable-detr_r50_16xb2-50e_coco.py"),
                TRANSFORMERS: partial(transformers_model, "DeformableDetr", maps=3, **DEFORMABLE),
            },
        ),
        "deformable_detr_two_stage": Family(two_stage, _deformable(refined)),
        "detr": Family(
            parts.detr(coarsest, COARSEST, plain_size),
            {
                MMDET: partial(mmdet_model, "detr/detr_r50_8xb2-150e_coco.py"),
                TRANSFORMERS: partial(transformers_model, "Detr"),
            },
        ),
        "conditional_detr": Family(
            parts.conditional_detr(coarsest, COARSEST, focal_size),
            {
                MMDET: partial(mmdet_model, "conditional_detr/conditional-detr_r50_8xb2-50e_coco.py"),
                TRANSFORMERS: partial(transformers_model, "ConditionalDetr"),
            },
        ),
        "dab_detr": Family(
            parts.dab_detr(coarsest, COARSEST, parts.Size(queries=300, dropout=0.0)),
            {
                MMDET: partial(mmdet_model, "dab_detr/dab-detr_r50_8xb2-50e_coco.py"),
                TRANSFORMERS: partial(transformers_model, "DabDetr", dropout=0.0),
            },
        ),
    }


def _deformable(file: str) -> dict[str, Make]:
    """mmdet as it comes and, where we have one, on our kernel."""
    plain = {MMDET: partial(mmdet_model, file)}
    return plain | ({MMDET_OUR_KERNEL: partial(mmdet_model, file, our_kernel=True)} if has_kernels("cpu") else {})


def dense_families() -> dict[str, Family]:
    """FCOS R50 under assigners that mmdet has a detector for; DW, which it has none for, beside AutoAssign and FCOS.

    The backbone's norms are frozen on all sides.
    """
    files = {
        "fcos": "fcos/fcos_r50-caffe_fpn_gn-head-center-normbbox-centeronreg-giou_1x_coco.py",
        "atss": "atss/atss_r50_fpn_1x_coco.py",
        "gfl": "gfl/gfl_r50_fpn_1x_coco.py",
        "tood": "tood/tood_r50_fpn_1x_coco.py",
        "autoassign": "autoassign/autoassign_r50-caffe_fpn_1x_coco.py",
        "retinanet": "retinanet/retinanet_r50_fpn_1x_coco.py",
    }
    changes = {
        **FROZEN_NORMS,
        "model.backbone.style": "pytorch",  # strides where ours and torchvision's are; caffe's computes less
        "model.neck.add_extra_convs": "on_output",  # some have a larger one, on the backbone's last map
    }
    special = {"retinanet": AS_RETINANET}
    peers = {
        name: {MMDET: partial(mmdet_model, file, changes=changes | special.get(name, {}))}
        for name, file in files.items()
    }
    peers["fcos"][TORCHVISION] = torchvision_fcos
    peers["retinanet"][TORCHVISION] = torchvision_retinanet
    peers["dw"] = {f"{MMDET}'s {other}": peers[other][MMDET] for other in ("fcos", "autoassign")}
    return {name: Family(_dense_model(name), beside, SGD) for name, beside in peers.items()}


def _dense_model(assigner: str) -> dict[str, Any]:
    """FCOS R50 under an assigner, on the head of its paper where a recipe has one."""
    recipe = read_recipe("tood_r50_1x") if assigner == "tood" else {}
    changes = {key: value for key, value in recipe.get("changes", {}).items() if key.startswith("model.head")}
    preset = PRESETS.get(assigner, assigner)
    return compose("fcos_r50", preset, simulated_source(), changes=changes | FROZEN_NORMS)["model"]

"""Query detector fragments: each builds, and has as many parameters as the paper's model."""

from functools import partial

import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from detassign.configs.detectors.backbones import convnext, mobilenet_v2, resnet, swin_l
from detassign.detectors import QueryDetector
from detassign.engine import fragments
from detassign.engine.build import build_model, instantiate
from detassign.engine.config import plain

COCO_IDS = 91  # the papers' class count: COCO's category ids, gaps and all
FRAGMENTS = [name for name in fragments.names("detectors") if not name.startswith("fcos")]
PUBLISHED = {  # parameters of the papers' models, frozen batch norm not counted
    "detr_r50": 41_524_768,
    "detr_r50_dc5": 41_524_768,
    "conditional_detr_r50": 43_418_401,
    "conditional_detr_r50_dc5": 43_418_401,
    "deformable_detr_single_scale_r50": 34_066_593,
    "deformable_detr_single_scale_r50_dc5": 34_066_593,
    "deformable_detr_r50": 40_069_665,
    "deformable_detr_two_stage_r50": 41_181_529,
    "dab_detr_r50": 43_671_517,
    "dab_detr_r50_dc5": 43_671_517,
    "dab_detr_r50_dc5_fixxy": 43_671_517,
    "dab_detr_r50_3pat": 43_671_517 + 768,
    "dab_detr_r50_dc5_3pat": 43_671_517 + 768,
    "dn_detr_r50": 43_694_977,
    "dn_detr_r50_dc5": 43_694_977,
    "dab_deformable_detr_r50": 47_405_994,
    "dn_dab_deformable_detr_r50": 47_429_154,
    "dn_dab_deformable_encoder_only_r50": 48_488_589,
    "dn_dab_dino_deformable_detr_r50": 47_650_557,
    "dino_4scale_r50": 46_893_182,
    "dino_5scale_r50": 47_255_806,
}
TRAINABLE = {
    "detr_r50": 41_302_368,
    "conditional_detr_r50": 43_196_001,
    "dab_detr_r50": 43_449_117,
    "dino_4scale_r50": 46_670_782,
}
IN_MILLIONS = {"detr_r101": 60, "detr_r101_dc5": 60, "conditional_detr_r101": 62, "deformable_detr_refine_r50": 41}


def parameters(detector: QueryDetector) -> list[torch.nn.Parameter]:
    """All but those of the backbone's batch norms, which are constants in the papers' code."""
    norms = {id(p) for m in detector.backbone.modules() if isinstance(m, _BatchNorm) for p in m.parameters()}
    return [parameter for parameter in detector.parameters() if id(parameter) not in norms]


def read_values_at_construction(monkeypatch) -> None:
    """Swin reads its drop rates off a tensor, which one without memory cannot give."""
    monkeypatch.setattr(torch, "linspace", partial(torch.linspace, device="cpu"))


@pytest.fixture
def build(monkeypatch):
    """A fragment's detector of 91 classes, without memory."""
    read_values_at_construction(monkeypatch)

    def built(name: str) -> QueryDetector:
        description = plain(fragments.load("detectors", name)["model"])
        description["head"]["num_classes"] = COCO_IDS
        with torch.device("meta"):
            return build_model({"model": description}, initialise=False)

    return built


@pytest.mark.parametrize("name", FRAGMENTS)
def test_every_fragment_builds_and_has_the_papers_size(build, name):
    """Counts are those of the papers' code, to the last parameter where one is recorded."""
    detector = build(name)
    assert isinstance(detector, QueryDetector)
    every = parameters(detector)
    total = sum(parameter.numel() for parameter in every)
    trainable = sum(parameter.numel() for parameter in every if parameter.requires_grad)
    assert total == PUBLISHED.get(name, total)
    assert trainable == TRAINABLE.get(name, trainable)
    assert round(total / 1e6) == IN_MILLIONS.get(name, round(total / 1e6))


def test_every_published_size_is_of_a_fragment():
    """A renamed fragment does not escape its count."""
    assert {*PUBLISHED, *TRAINABLE, *IN_MILLIONS} <= set(FRAGMENTS)


@pytest.mark.parametrize("name", [name for name in FRAGMENTS if "tiny" not in name])
def test_usual_inputs_and_schedules_exist(name):
    """What a fragment names is there, and it trains with DETR's augmentation."""
    parts = fragments.load("detectors", name)
    assert parts["schedule"] in fragments.names("schedules")
    assert parts["input"]["augmentation"] == "detr"


@pytest.mark.parametrize(
    ("make", "maps"),
    [
        *((partial(resnet, depth), maps) for depth in (18, 50) for maps in (1, 3, 4)),
        *(
            (make, maps)
            for make in (swin_l, partial(convnext, "large"), partial(convnext, "xlarge"))
            for maps in (3, 4)
        ),
        *((mobilenet_v2, maps) for maps in (1, 3)),
    ],
)
def test_backbones_give_the_channels_they_declare(monkeypatch, make, maps):
    """So many maps as asked for, each half as large as the one before, the last at stride 32."""
    read_values_at_construction(monkeypatch)
    description, channels = make(maps=maps)
    with torch.device("meta"), torch.no_grad():
        features = instantiate(plain(description), "backbone")(torch.zeros(2, 3, 128, 192))
    strides = [32 // 2**finer for finer in reversed(range(maps))]
    assert [tuple(f.shape) for f in features] == [
        (2, width, 128 // stride, 192 // stride) for width, stride in zip(channels, strides, strict=True)
    ]


@pytest.mark.parametrize(("dc5", "last"), [(False, (2, 3)), (True, (4, 6))])
def test_a_dilated_last_stage_keeps_the_map_large(dc5, last):
    """DC5 halves one time less; at 64 x 96 pixels the last map is 4 x 6 and not 2 x 3."""
    backbone, channels = resnet(18, dc5=dc5)
    assert channels == (512,)
    with torch.no_grad():
        (feature,) = instantiate(plain(backbone), "backbone")(torch.zeros(1, 3, 64, 96))
    assert feature.shape == (1, 512, *last)


def test_no_batch_norm_of_a_resnet_is_trained(build):
    """Frozen batch norm: neither statistics nor scale nor shift move."""
    backbone = build("detr_r50").train().backbone
    norms = [module for module in backbone.modules() if isinstance(module, _BatchNorm)]
    assert not any(norm.training for norm in norms)
    assert not any(parameter.requires_grad for norm in norms for parameter in norm.parameters())

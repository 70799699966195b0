"""torchvision's own FCOS gives the same numbers as this project's with its weights, converted; RetinaNet gives its maps."""

import pytest
import torch
from support import zoo
from torchvision.models import resnet18
from torchvision.models.detection import FCOS, RetinaNet, fcos_resnet50_fpn, retinanet_resnet50_fpn_v2
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.image_list import ImageList
from torchvision.ops.feature_pyramid_network import LastLevelP6P7
from torchvision.ops.misc import FrozenBatchNorm2d

from detassign.configs.detectors import parts
from detassign.configs.detectors.fcos_r50 import model as fcos_r50
from detassign.engine.build import build_model, load_backbone
from detassign.engine.config import change, plain
from detassign.engine.conversion.convert import convert
from detassign.engine.conversion.families import recognise
from detassign.engine.conversion.fit import ClassRows, Report, fit
from detassign.engine.conversion.reading import Checkpoint

NAMES = tuple("abcdefg")
CHANNELS = 32


def theirs(kind, extra_from=CHANNELS):
    """A torchvision detector on ResNet-18 with a narrow pyramid, its weights drawn at random; row 0 is no class."""
    layers = {f"layer{stage}": str(stage) for stage in (2, 3, 4)}
    backbone = BackboneWithFPN(
        resnet18(norm_layer=FrozenBatchNorm2d),
        layers,
        [128, 256, 512],
        CHANNELS,
        LastLevelP6P7(extra_from, CHANNELS),
    )
    return zoo.randomised(kind(backbone, num_classes=len(NAMES)))


def target(**changes):
    model = parts.fcos(parts.resnet(18), (128, 256, 512), channels=CHANNELS, num_classes=len(NAMES), assigner="fcos")
    config = {"name": "fcos", "data": {"classes": list(NAMES)}, "pretrained": None, "model": plain(model)}
    for key, value in changes.items():
        change(config, key, value)
    return config


def converted(model, folder, **changes):
    torch.save(model.state_dict(), folder / "theirs.pth")
    return convert(target(**changes), folder / "theirs.pth")


@torch.no_grad()
def test_fcos_gives_torchvisions_numbers(tmp_path):
    """Logits, boxes and centerness of every point, of an image whose sides the coarsest cells divide."""
    model = theirs(FCOS)
    config, state, report = converted(model, tmp_path)
    assert (report.source, report.complete, report.dropped, report.fresh) == ("torchvision", True, {}, {})
    assert set(report.mapped.values()) == set(model.state_dict())
    assert set(report.given) == {f"bbox_head.scales.{level}.scale" for level in range(5)}
    assert report.settings == {
        "model.preprocessor.pad_size_divisor": 128,
        "model.head.conv_bias": True,
        "model.head.point_offset": 0.0,
    }
    detector = zoo.build(config, state)
    images = torch.randn(2, 3, 128, 256, generator=torch.Generator().manual_seed(0))
    features = list(model.backbone(images).values())
    outputs = model.head(features)
    anchors = torch.stack(model.anchor_generator(ImageList(images, [(128, 256)] * 2), features))
    predictions = detector.predictions(images)
    boxes = model.box_coder.decode(outputs["bbox_regression"], anchors)
    torch.testing.assert_close(predictions.logits, outputs["cls_logits"], rtol=0, atol=2e-5)
    torch.testing.assert_close(predictions.boxes, boxes, rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(predictions.objectness, outputs["bbox_ctrness"][..., 0], rtol=0, atol=2e-5)


@torch.no_grad()
@pytest.mark.parametrize(("extra_from", "where"), [(CHANNELS, "on_output"), (512, "on_input")])
def test_retinanets_backbone_and_pyramid_are_taken(extra_from, where, tmp_path):
    """Both forms, whose coarse levels come from the pyramid or from the backbone; the head begins anew."""
    model = theirs(RetinaNet, extra_from)
    config, state, report = converted(model, tmp_path)
    heads = {name for name in model.state_dict() if name.startswith("head.")}
    assert report.complete
    assert set(report.dropped) == heads
    assert set(report.mapped.values()) == set(model.state_dict()) - heads
    assert {name for name in report.fresh if not name.startswith("bbox_head.")} == set()
    assert config["model"]["neck"]["add_extra_convs"] == where
    detector = zoo.build(config, state)
    images = torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    for ours, level in zip(detector.extract_feat(images), model.backbone(images).values(), strict=True):
        torch.testing.assert_close(ours, level, rtol=0, atol=1e-4)


def test_another_number_of_levels_is_told(tmp_path):
    _, _, report = converted(
        theirs(FCOS), tmp_path, **{"model.head.strides": [8, 16, 32, 64], "model.neck.num_outs": 4}
    )
    assert not report.complete
    assert set(report.unexplained) == {f"backbone.fpn.extra_blocks.p7.{part}" for part in ("weight", "bias")}


@pytest.mark.parametrize("build", [fcos_resnet50_fpn, retinanet_resnet50_fpn_v2])
def test_the_published_forms_are_accounted_for(build):
    """By names and shapes: ResNet-50, 91 rows; older files have no level of their own in the names of the pyramid."""
    with torch.device("meta"):
        state = build(weights=None, weights_backbone=None).state_dict()
    old = {name.replace("_blocks.0.0.", "_blocks.0."): tensor for name, tensor in state.items()}
    assert len(old.keys() - state.keys()) == 4
    for names in (state, old):
        found = recognise(Checkpoint({name: tensor for name, tensor in names.items() if "num_batches" not in name}))
        config = plain({"model": {**fcos_r50, "head": {**fcos_r50["head"], "num_classes": 91}}})
        for key, value in found.settings.items():
            change(config, key, value)
        with torch.device("meta"):
            detector = build_model(config, initialise=False)
        report = Report("torchvision")
        fit(found.translation, detector, ClassRows(tuple(range(91)), 91), report)
        assert (report.missing, report.unexplained) == ([], {})


def test_a_retinanet_starts_any_backbone(tmp_path):
    """`--pretrained` takes the backbone out of a detector's file."""
    model = theirs(RetinaNet)
    torch.save(model.state_dict(), tmp_path / "retinanet.pth")
    detector = build_model(target(), initialise=False)
    load_backbone(detector.backbone, tmp_path / "retinanet.pth")
    own = detector.backbone.state_dict()
    assert all(torch.equal(own[name], tensor) for name, tensor in model.backbone.body.state_dict().items())

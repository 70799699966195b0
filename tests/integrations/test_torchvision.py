"""torchvision's FCOS and RetinaNet under this project's assigners."""

import copy
import io

import pytest
import torch
from support import zoo
from support.learning import falls, unreached
from torchvision.models import resnet18
from torchvision.models.detection import FCOS, RetinaNet, fasterrcnn_resnet50_fpn
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.ops.feature_pyramid_network import LastLevelP6P7
from torchvision.ops.misc import FrozenBatchNorm2d

from detassign.integrations.torchvision import use_assigner

CLASSES = 4  # row 0 is torchvision's background
AS_TORCHVISION = {"matching": "center_sampling", "weighting": "focal", "branch": "centerness"}


def detector(kind=FCOS, random=False, size=128, seed=0):
    torch.manual_seed(seed)
    layers = {f"layer{stage}": str(stage) for stage in (2, 3, 4)}
    backbone = BackboneWithFPN(
        resnet18(norm_layer=FrozenBatchNorm2d), layers, [128, 256, 512], 64, LastLevelP6P7(64, 64)
    )
    model = kind(backbone, num_classes=CLASSES, min_size=size, max_size=2 * size)
    return (zoo.randomised(model) if random else model).train()


def batch(size=128):
    """Two images, the second without an object."""
    generator = torch.Generator().manual_seed(1)
    images = list(torch.rand(2, 3, size, size, generator=generator))
    boxes = torch.tensor([[10.0, 12.0, 60.0, 90.0], [50.0, 20.0, 120.0, 70.0]])
    return images, [
        {"boxes": boxes, "labels": torch.tensor([1, 3])},
        {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.long)},
    ]


def test_the_numbers_are_torchvisions_where_the_rules_are():
    """Centre sampling, focal, GIoU and centerness put together give FCOS's own loss."""
    theirs = detector(random=True).train()
    ours = use_assigner(copy.deepcopy(theirs), AS_TORCHVISION)
    expected, found = theirs(*batch()), ours(*batch())
    assert expected["bbox_regression"] > 0.1
    torch.testing.assert_close(found["loss_cls_pos"] + found["loss_cls_neg"], expected["classification"])
    torch.testing.assert_close(found["loss_box"], expected["bbox_regression"])
    torch.testing.assert_close(found["loss_centerness"], expected["bbox_ctrness"])


@pytest.mark.parametrize("assigner", ["dw", "hungarian"])
@pytest.mark.parametrize("kind", [FCOS, RetinaNet])
def test_it_learns(kind, assigner):
    """Losses fall on a repeated batch, and reach every weight but a branch that the assigner leaves out."""
    model = use_assigner(detector(kind), assigner)
    falls(model, lambda: sum(model(*batch()).values()), steps=4, rate=3e-4)
    held = {"head.regression_head.bbox_ctrness.weight", "head.regression_head.bbox_ctrness.bias"}
    frozen = {name for name, weight in model.head.named_parameters("head") if not weight.requires_grad}
    assert frozen == (held if kind is FCOS and assigner == "hungarian" else set())
    assert {name for name in unreached(model) if not name.startswith("backbone.body.")} == set()
    model.eval()
    with torch.no_grad():
        found = model([batch()[0][0]])[0]
    assert found["boxes"].shape == (len(found["scores"]), 4)
    assert (model.nms_thresh == 1.0) == (assigner == "hungarian")


def test_a_column_of_objectness_leaves_no_trace_but_its_weights():
    """Under DW RetinaNet's logits are those of class times objectness: at an even chance, half the probability."""
    plain = detector(RetinaNet, random=True)
    grown = use_assigner(copy.deepcopy(plain), "dw")
    features = [torch.rand(1, 64, 4, 4)]
    layer = grown.head.classification_head.cls_logits
    layer.weight.data.unflatten(0, (9, -1))[:, -1] = 0
    ours, theirs = (model.head(features)["cls_logits"] for model in (grown, plain))
    torch.testing.assert_close(ours.sigmoid(), theirs.sigmoid() / 2)


def test_a_branch_that_nobody_trains_weighs_nothing():
    """FCOS detects by the root of class times branch: of the class alone, then."""
    model = use_assigner(detector(random=True), "hungarian").eval()
    outputs = model.head([torch.rand(1, 64, 4, 4)])
    assert outputs["bbox_ctrness"].sigmoid().eq(1).all()


def test_copies_and_files_go_on_by_themselves():
    """A deep copy (as averages of weights are) and a pickled model ask their own assigner about their own batch."""
    model = use_assigner(detector(), "dw")
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    expected = model(*batch())
    for other in (copy.deepcopy(model), torch.load(file, weights_only=False)):
        assert other.compute_loss.args[0] is other
        torch.testing.assert_close(other(*batch()), expected)


def test_what_cannot_be_is_told():
    with pytest.raises(ValueError, match="its softmax wants a column for no object"):
        use_assigner(detector(), "detr")
    with pytest.raises(ValueError, match="needs distribution, which this model does not provide"):
        use_assigner(detector(), "gfl")
    with pytest.raises(ValueError, match="trains a second branch for itself, which RetinaNet has not"):
        use_assigner(detector(RetinaNet), "simota")
    with pytest.raises(ValueError, match="has an assigner already"):
        use_assigner(use_assigner(detector(), "atss"), "dw")
    with pytest.raises(TypeError, match="expected torchvision's FCOS or RetinaNet, got FasterRCNN"):
        use_assigner(fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None), "dw")

"""mmdet's own detectors whose heads ask this project's assigners, by config."""

import pytest
import torch
from mmengine.structures import InstanceData
from support import zoo
from support.learning import falls, unreached

import detassign.integrations.mmdet  # noqa: F401 (registers the heads)

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
HEADS = {
    "detr": "DETRHead",
    "conditional_detr": "ConditionalDETRHead",
    "dab_detr": "DABDETRHead",
    "deformable_detr_two_stage": "DeformableDETRHead",
    "dino": "DINOHead",
}
SIGMOID = {"_delete_": True, "type": "FocalLoss", "use_sigmoid": True}


def assigned(name, assigner):
    """mmdet's model of a family with the assigned head in the place of its own."""
    options = {"model.bbox_head.type": f"Assigned{HEADS[name]}", "model.bbox_head.assigner": assigner}
    if name == "detr" and assigner != "detr":
        options["model.bbox_head.loss_cls"] = SIGMOID
    return zoo.theirs(name, options)


def batch():
    """Two images of different size, the second without an object; objects are large, so that untrained queries lie inside."""
    images, samples = zoo.padded_batch()
    boxes = torch.tensor([[4.0, 4.0, 124.0, 92.0], [20.0, 10.0, 100.0, 80.0]])
    for sample, count in zip(samples, (2, 0), strict=True):
        sample.gt_instances = InstanceData(bboxes=boxes[:count], labels=torch.tensor([1, 3])[:count])
    return images, samples


def losses(model):
    torch.manual_seed(0)  # of denoising and dropout
    return model.loss(*batch())


def total(model):
    values = losses(model).values()
    return sum(sum(value) if isinstance(value, list) else value for value in values)


@pytest.mark.parametrize("assigner", ["dw", "hungarian"])
@pytest.mark.parametrize("name", HEADS)
def test_queries_learn(name, assigner):
    """Losses fall on a repeated batch and reach the heads; proposals and denoising keep mmdet's own."""
    model = assigned(name, assigner)
    model.bbox_head.init_weights()  # random ones put boxes at the border of the image
    if name == "dab_detr":
        torch.nn.init.normal_(model.query_embedding.weight)  # and anchors
    model.train()
    falls(model, lambda: total(model), steps=4)
    assert {key for key in unreached(model) if key.startswith("bbox_head.")} == set()
    found = losses(model)
    assert {"loss_cls", "loss_l1", "loss_giou", "loss_cls_0"} <= set(found) or assigner == "dw"
    assert any(key.startswith("enc_") for key in found) == (name in ("deformable_detr_two_stage", "dino"))
    assert any("dn_" in key for key in found) == (name == "dino")


@pytest.mark.parametrize(
    ("name", "preset"),
    [
        ("detr", "detr"),
        ("conditional_detr", "deformable_detr"),
        ("deformable_detr_two_stage", "deformable_detr"),
        ("dino", "hungarian"),
    ],
)
def test_the_numbers_are_mmdets_where_the_rules_are(name, preset):
    """Every layer's terms, and all that stays mmdet's, with the same weights in both."""
    theirs, ours = zoo.theirs(name).train(), assigned(name, preset).train()
    assert all(torch.equal(*pair) for pair in zip(theirs.parameters(), ours.parameters(), strict=True))
    expected, found = losses(theirs), losses(ours)
    for own, other in (("loss_cls", "loss_cls"), ("loss_l1", "loss_bbox"), ("loss_giou", "loss_iou")):
        torch.testing.assert_close(found[own], expected[other].reshape(()), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found[f"{own}_0"], expected[f"d0.{other}"].reshape(()), rtol=1e-4, atol=1e-5)
    for key in (key for key in expected if key.startswith(("enc_", "dn_"))):
        torch.testing.assert_close(found[key], expected[key])


@pytest.mark.parametrize("file", ["fcos_r50-caffe_fpn_gn-head_1x_coco.py", zoo.FCOS_TRICKS])
def test_fcos_gives_mmdets_numbers_under_its_own_rules(file):
    theirs = zoo.their_fcos(file).train()
    radius = 1.5 if theirs.bbox_head.center_sampling else None
    assigner = {"type": "fcos", "radius": radius}
    ours = zoo.their_fcos(file, type="AssignedFCOSHead", assigner=assigner).train()
    expected, found = losses(theirs), losses(ours)
    torch.testing.assert_close(
        found["loss_cls_pos"] + found["loss_cls_neg"], expected["loss_cls"], rtol=1e-4, atol=1e-5
    )
    torch.testing.assert_close(found["loss_centerness"], expected["loss_centerness"], rtol=1e-4, atol=1e-5)
    if "giou" in file:
        torch.testing.assert_close(found["loss_box"], expected["loss_bbox"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("assigner", ["dw", "hungarian"])
def test_fcos_learns(assigner):
    """Its branch is objectness under DW, and held at yes where the assigner leaves it out; one-to-one goes without NMS."""
    model = zoo.their_fcos(type="AssignedFCOSHead", assigner=assigner)
    model.bbox_head.init_weights()
    model.train()
    falls(model, lambda: total(model), steps=4)
    found = {key for key in unreached(model) if key.startswith("bbox_head.")}
    assert {key for key in found if not key.startswith("bbox_head.scales.")} == set()  # a level may have no object
    branch = model.bbox_head.conv_centerness
    assert branch.weight.requires_grad == (assigner == "dw")
    assert (model.bbox_head.test_cfg["nms"]["iou_threshold"] == 1.0) == (assigner == "hungarian")
    with torch.no_grad():
        predicted = model.eval().predict(*batch())
    assert len(predicted) == 2


def test_what_cannot_be_is_told():
    with pytest.raises(ValueError, match="made of sigmoids: loss_cls"):
        zoo.theirs("detr", {"model.bbox_head.type": "AssignedDETRHead", "model.bbox_head.assigner": "dw"})
    with pytest.raises(ValueError, match="made of a softmax: loss_cls"):
        assigned("dino", "detr")
    with pytest.raises(ValueError, match="needs distribution, which this model does not provide"):
        zoo.their_fcos(type="AssignedFCOSHead", assigner="gfl")

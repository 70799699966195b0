"""The query head under assigners that want points, strides, priors or objectness of queries."""

import math
from dataclasses import replace

import pytest
import torch
from support.query import CLASSES, batch, detector, total

from detassign.assigners import Targets
from detassign.assigners.queries import QueryOutputs, query_geometry, stacked_predictions
from detassign.heads import QueryHead

SIZES = torch.tensor([[100.0, 50.0]])
BOX = torch.tensor([[[0.5, 0.5, 0.4, 0.4]]])  # one query: 40 x 20 pixels around (50, 25)


def geometry(references=None, strides=None, boxes=BOX):
    outputs = QueryOutputs(torch.zeros(1, 1, 1, 3), boxes[None], references, strides=strides)
    targets = Targets.from_lists([torch.zeros(0, 4)], [torch.zeros(0)], sizes=SIZES)
    predictions = stacked_predictions(outputs, targets, geometry=True)
    return [getattr(predictions, name).flatten().tolist() for name in ("points", "priors", "strides")]


def test_a_query_without_a_reference_stands_where_it_predicts():
    points, priors, strides = geometry()
    assert points == [50.0, 25.0]
    assert priors == pytest.approx([30.0, 15.0, 70.0, 35.0])
    assert strides == pytest.approx([800**0.5 / 8])


def test_a_query_stands_where_its_box_starts_from():
    points, priors, strides = geometry((torch.tensor([[[0.2, 0.4, 0.2, 0.8]]]),))
    assert points == pytest.approx([20.0, 20.0])
    assert priors == pytest.approx([10.0, 0.0, 30.0, 40.0])
    assert strides == pytest.approx([800**0.5 / 8])


def test_a_query_that_starts_from_a_point_has_the_box_that_it_predicts():
    points, priors, _ = geometry((torch.tensor([[[0.2, 0.4]]]),))
    assert points == pytest.approx([20.0, 20.0])
    assert priors == pytest.approx([30.0, 15.0, 70.0, 35.0])


def test_a_query_of_a_token_has_the_stride_of_its_level():
    assert geometry((BOX,), strides=torch.tensor([[32.0]]))[2] == [32.0]


def test_a_query_without_extent_still_has_a_stride():
    assert geometry(boxes=torch.zeros(1, 1, 4))[2] == [1.0]


def test_geometry_carries_no_gradient():
    boxes, references = BOX[None].clone().requires_grad_(), (BOX.clone().requires_grad_(),)
    outputs = QueryOutputs(torch.zeros(1, 1, 1, 3), boxes, references)
    assert not any(value.requires_grad for value in query_geometry(outputs, boxes.detach(), SIZES).values())


@pytest.mark.parametrize("assigner", ["dw", "atss", "fcos", "max_iou", "center_sampling+dual", "dw(score='softmax')"])
@pytest.mark.parametrize("family", ["detr", "conditional_detr", "deformable_detr_two_stage", "dino_4scale"])
def test_dense_assigners_train_query_detectors(family, assigner):
    model = detector(family, assigner=assigner, denoising="none")
    losses = model.loss(*batch(3, 0))
    total(losses).backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
    assert set(model.loss(*batch(0, 0))) == set(losses)


def test_an_assigner_that_asks_for_objectness_gets_an_output_for_it():
    model = detector("dino_4scale", assigner="dw", denoising="cdn")
    outputs = model.outputs(*_inputs(model))
    assert outputs.objectness.shape == outputs.logits.shape[:3]
    assert outputs.logits.shape[-1] == CLASSES
    assert outputs.encoder.objectness.shape == outputs.encoder.logits.shape[:3]
    model.eval()
    with torch.no_grad():
        predictions = model.predictions(*batch(1, 1))
        scores, factor = model.bbox_head.scores(predictions)
    assert factor is None
    torch.testing.assert_close(scores, predictions.logits.sigmoid() * predictions.objectness.sigmoid()[..., None])


def test_objectness_that_is_rarely_true_starts_as_classes_do():
    prior = -math.log(0.98 / 0.02)
    simota = QueryHead(CLASSES, "simota", channels=8, layers=1, class_prior=0.02)
    assert simota.classes[0].bias.tolist() == pytest.approx([prior] * (CLASSES + 1))
    dual = QueryHead(CLASSES, "dw", channels=8, layers=1, class_prior=0.02)
    assert dual.classes[0].bias.tolist() == pytest.approx([*[prior] * CLASSES, 0.0])


def _inputs(model, shape=(64, 96)):
    images, _ = batch(2, 2, size=shape)
    return model.extract_feat(images), torch.tensor([shape[::-1]] * 2).float(), shape, False


def test_queries_of_two_stages_know_the_strides_of_their_tokens():
    model = detector("dino_4scale", denoising="none")
    outputs = model.outputs(*_inputs(model))
    assert outputs.strides.shape == outputs.logits.shape[1:3]
    assert set(outputs.strides.unique().tolist()) <= {8.0, 16.0, 32.0, 64.0}
    assert torch.equal(outputs.encoder.strides, outputs.strides)


def test_one_assigner_serves_all_outputs_unless_told_otherwise():
    head = QueryHead(3, {"type": "hungarian", "encoder": "atss", "denoising": "deformable_detr"}, encoder="classes")
    names = {output: type(head.assigner_of(output).matching).__name__ for output in ("decoder", "encoder", "denoising")}
    assert names == {"decoder": "Hungarian", "encoder": "ATSS", "denoising": "Hungarian"}
    assert head.assigner_of("denoising") is not head.assigner
    assert QueryHead(3, "hungarian").assigner_of("encoder") is not None


def test_the_encoder_learns_by_its_own_assigner():
    ours, theirs = (
        detector("dino_4scale", assigner=spec, denoising="none")
        for spec in ({"type": "hungarian", "encoder": "atss"}, "hungarian")
    )
    theirs.load_state_dict(ours.state_dict(), strict=False)
    inputs = batch(3, 2)
    got, wanted = ours.loss(*inputs), theirs.loss(*inputs)
    decoder = [name for name in wanted if not name.endswith("_enc")]
    assert {name: got[name].item() for name in decoder} == pytest.approx({n: wanted[n].item() for n in decoder})
    assert got["loss_cls_enc"] != wanted["loss_cls_enc"]
    assert "loss_box_enc" in got


def test_the_encoder_is_not_the_final_layer():
    """It is stacked behind the decoder's layers, where it shares their assigner."""
    model = detector("dino_4scale", denoising="none")
    outputs, targets = model.outputs(*_inputs(model)), Targets.from_lists([torch.zeros(0, 4)] * 2, [torch.zeros(0)] * 2)
    targets = replace(targets, sizes=SIZES.expand(2, 2))
    joint = stacked_predictions(outputs.with_encoder(), targets)
    assert joint.final_group == joint.groups - 2 == len(outputs.logits) - 1
    assert stacked_predictions(outputs, targets).final_group == len(outputs.logits) - 1


def test_the_encoder_may_have_a_score_model_of_its_own():
    model = detector("dino_4scale", assigner={"type": "hungarian", "encoder": "dw"}, denoising="cdn")
    assert model.bbox_head.encoder_class.out_features == CLASSES + 1
    assert model.bbox_head.classes[0].out_features == CLASSES
    losses = model.loss(*batch(2, 0))
    assert all(value.isfinite() for value in losses.values())


def test_denoising_shares_the_columns_of_the_decoder():
    with pytest.raises(ValueError, match="denoising: its queries share the decoder's classifier, whose score model is"):
        QueryHead(3, {"type": "hungarian", "denoising": "detr"})


def test_without_objectness_the_outputs_have_none():
    outputs = QueryHead(3, channels=8, layers=1)(torch.zeros(1, 2, 5, 8), None, torch.zeros(1, 2, 5, 4))
    assert outputs.objectness is None
    assert replace(outputs, denoising=None).split()[1].objectness is None

"""transformers' detectors under this project's assigners."""

import copy

import pytest
import torch
from support.hub import theirs
from support.learning import falls, unreached

from detassign.assigners.scores import product_logit
from detassign.integrations.folding import FoldedLinear
from detassign.integrations.transformers import use_assigner

NAMES = ("detr", "conditional_detr", "deformable_detr_two_stage", "dab_detr", "rt_detr")
SMALL = {"channels": 32, "num_queries": 40, "dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0}


def model_of(name, **changes):
    return rt_detr() if name == "rt_detr" else theirs(name, **SMALL, **changes).train()


def rt_detr():
    """One layer of each kind, with two groups of denoising queries."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    backbone = transformers.RTDetrResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 16, 32, 64],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )
    config = transformers.RTDetrConfig(
        backbone_config=backbone,
        encoder_hidden_dim=32,
        encoder_in_channels=[16, 32, 64],
        encoder_ffn_dim=32,
        encoder_attention_heads=4,
        d_model=32,
        decoder_in_channels=[32, 32, 32],
        decoder_ffn_dim=32,
        decoder_attention_heads=4,
        decoder_layers=2,
        num_queries=40,
        num_denoising=4,
        id2label=dict(enumerate("abcdefg")),
        freeze_backbone_batch_norms=False,
        hidden_expansion=0.5,
    )
    return transformers.RTDetrForObjectDetection(config).train()


def batch():
    """Two images of one size, the second without an object; labels as an image processor makes them.

    Objects are large, so that queries that were never trained lie inside.
    """
    images = torch.randn(2, 3, 96, 128, generator=torch.Generator().manual_seed(1))
    labels = [
        {"class_labels": torch.tensor([1, 3]), "boxes": torch.tensor([[0.5, 0.5, 0.9, 0.9], [0.4, 0.5, 0.7, 0.7]])},
        {"class_labels": torch.zeros(0, dtype=torch.long), "boxes": torch.zeros(0, 4)},
    ]
    return {"pixel_values": images, "labels": [{**own, "size": torch.tensor([96, 128])} for own in labels]}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("assigner", ["dw", "hungarian"])
def test_it_learns(name, assigner):
    """Losses fall on a repeated batch, and reach the heads of every layer."""
    model = use_assigner(model_of(name), assigner)
    torch.manual_seed(2)
    losses = falls(model, lambda: model(**batch()).loss)
    assert losses[0] > 0.1
    heads = {name for name, _ in model.named_parameters() if "class_" in name or "bbox_" in name or "enc_score" in name}
    assert heads & unreached(model) == set()
    terms = model(**batch()).loss_dict
    assert any(key.endswith("_0") for key in terms)
    assert any(key.endswith("_enc") for key in terms) == (name in ("deformable_detr_two_stage", "rt_detr"))
    assert any("_dn_" in key for key in terms) == (name == "rt_detr")


@pytest.mark.parametrize(
    ("name", "preset", "classes"), [("detr", "detr", 1.0), ("conditional_detr", "deformable_detr", 2.0)]
)
def test_the_numbers_are_transformers_where_the_rules_are(name, preset, classes):
    """Term by term and layer by layer; transformers' Conditional DETR counts classes once, its paper twice."""
    theirs_ = model_of(name).eval()
    ours = use_assigner(copy.deepcopy(theirs_), preset)
    with torch.no_grad():
        expected, found = theirs_(**batch()), ours(**batch())
    for end in ("", "_0"):
        own, other = found.loss_dict, expected.loss_dict
        torch.testing.assert_close(own[f"loss_cls{end}"], classes * other[f"loss_ce{end}"])
        torch.testing.assert_close(own[f"loss_l1{end}"], 5 * other[f"loss_bbox{end}"])
        torch.testing.assert_close(own[f"loss_giou{end}"], 2 * other[f"loss_giou{end}"])
    torch.testing.assert_close(found.logits, expected.logits)
    assert len(found.auxiliary_outputs) == len(expected.auxiliary_outputs)


def test_a_column_of_objectness_is_folded_into_the_logits():
    """The classifier says class times objectness, wherever transformers reads it."""
    model = use_assigner(model_of("conditional_detr"), "dw")
    layer, states = model.class_labels_classifier, torch.randn(3, 32)
    assert isinstance(layer, FoldedLinear)
    raw = states @ layer.weight.T + layer.bias
    torch.testing.assert_close(layer(states), product_logit(raw[:, :-1], raw[:, -1:]))
    assert model(**batch()).logits.shape[-1] == 7


def test_only_the_last_layer_is_assigned_without_auxiliary_losses():
    model = use_assigner(model_of("detr", auxiliary_loss=False), "detr")
    assert not any(key.endswith("_0") for key in model(**batch()).loss_dict)


def test_sizes_of_images_are_those_of_their_batch_where_labels_say_none():
    model = use_assigner(model_of("detr"), "dw").eval()
    inputs = batch()
    expected = model(**inputs).loss
    for label in inputs["labels"]:
        del label["size"]
    torch.testing.assert_close(model(**inputs).loss, expected)


def test_what_cannot_be_is_told():
    with pytest.raises(ValueError, match="its softmax wants a column for no object"):
        use_assigner(model_of("conditional_detr"), "detr")
    with pytest.raises(ValueError, match="needs distribution, which this model does not provide"):
        use_assigner(model_of("detr"), "gfl")
    with pytest.raises(ValueError, match="has an assigner already"):
        use_assigner(use_assigner(model_of("detr"), "dw"), "hungarian")
    with pytest.raises(TypeError, match="a detector of transformers' DETR family, got Linear"):
        use_assigner(torch.nn.Linear(1, 1), "dw")

"""Swin backbones of the papers' code, whose form mmdet's own converter knows."""

from collections import OrderedDict

import pytest
import torch
from mmdet.models import SwinTransformer
from mmdet.models.backbones.swin import swin_converter

from detassign.engine.build import load_backbone
from detassign.engine.conversion.co_detr import from_co_detr
from detassign.engine.conversion.detrex import from_detrex
from detassign.engine.conversion.official import from_official


def original_state():
    """Names and shapes of the original Swin, told from mmdet's by the inverse of what mmdet's converter says."""
    model = SwinTransformer(embed_dims=8, depths=(1, 2, 1, 1), num_heads=(1, 1, 1, 1), window_size=3)
    swaps = (("patch_embed.projection", "patch_embed.proj"), ("stages.", "layers."), ("attn.w_msa.", "attn."))
    swaps += (("ffn.layers.0.0.", "mlp.fc1."), ("ffn.layers.1.", "mlp.fc2."))
    state, generator = {}, torch.Generator().manual_seed(0)
    for name, tensor in model.state_dict().items():
        for ours, theirs in swaps:
            name = name.replace(ours, theirs)
        state[name] = torch.rand(tensor.shape, generator=generator)
    return model, state


@pytest.mark.parametrize(
    ("take", "prefix"),
    [
        (from_official, "backbone.0."),
        (from_official, "backbone.0.body."),
        (from_detrex, "backbone."),
        (from_co_detr, "backbone."),
    ],
    ids=["DINO", "H-DETR", "detrex", "Co-DETR"],
)
def test_a_swin_becomes_what_mmdets_converter_makes_of_it(take, prefix):
    """Every name of mmdet's backbone, and its order of neighbouring patches, which differs from the original's."""
    model, state = original_state()
    translation = take({f"{prefix}{name}": tensor for name, tensor in state.items()})
    converted = swin_converter(OrderedDict(state))
    assert set(translation.state) == set(converted) == {f"backbone.{name}" for name in model.state_dict()}
    for name, tensor in converted.items():
        torch.testing.assert_close(translation.state[name], tensor, rtol=0, atol=0)
    merged = translation.state["backbone.stages.0.downsample.reduction.weight"]
    assert not torch.equal(merged, state["layers.0.downsample.reduction.weight"])


def test_a_classifier_of_its_authors_starts_a_backbone(tmp_path):
    """Under --pretrained, though names and order of patches differ and the norms behind the maps are not in it."""
    model, state = original_state()
    whole = zip(state, state.values(), model.state_dict().values(), strict=True)
    classifier = {name: same if "index" in name else tensor for name, tensor, same in whole if name[:4] != "norm"}
    torch.save({"model": classifier | {"head.weight": torch.zeros(10, 64)}}, tmp_path / "swin.pth")
    load_backbone(model, tmp_path / "swin.pth")
    for name, tensor in swin_converter(OrderedDict(classifier)).items():
        assert torch.equal(model.state_dict()[name.removeprefix("backbone.")], tensor)

"""Where the weights are, and what a file says of itself."""

import argparse

import pytest
import torch

from detassign.engine.conversion.reading import model_description, read_checkpoint

WEIGHTS = {"layer.weight": torch.ones(2)}


@pytest.mark.parametrize(
    "saved",
    [
        WEIGHTS,
        {"state_dict": WEIGHTS, "optimizer": {"state": {}}},
        {"model": WEIGHTS, "args": argparse.Namespace(lr=1e-4), "epoch": 11},
        {"ema_model": {f"module.{name}": tensor for name, tensor in WEIGHTS.items()}},
        {"model": {f"module.module.{name}": tensor for name, tensor in WEIGHTS.items()}},
        {"model_state_dict": WEIGHTS, "optimizer_state_dict": {"state": {}}},
        {"state_dict": {f"model.{name}": tensor for name, tensor in WEIGHTS.items()}},
        {"state_dict": {f"model._orig_mod.{name}": tensor for name, tensor in WEIGHTS.items()}},
        {"layer._orig_mod.weight": WEIGHTS["layer.weight"]},
        {"ema": {"module": WEIGHTS, "updates": 12}},
        {"model_ema": WEIGHTS},
        {"n_averaged": torch.tensor(3), "module.layer.weight": WEIGHTS["layer.weight"]},
    ],
    ids=[
        "bare",
        "state_dict",
        "model",
        "ema_model",
        "wrapped twice",
        "model_state_dict",
        "part of a trainer",
        "compiled",
        "compiled in part",
        "RT-DETR's average",
        "model_ema",
        "torch's average",
    ],
)
def test_weights_are_found_under_every_usual_key(saved, tmp_path):
    torch.save(saved, tmp_path / "file.pth")
    found = read_checkpoint(tmp_path / "file.pth")
    assert list(found.state) == ["layer.weight"]
    assert found.averaged == bool(saved.keys() & {"ema_model", "ema", "model_ema"})


def test_averaged_weights_are_taken_when_asked_for(tmp_path):
    torch.save({"model": WEIGHTS, "ema_model": {"module.layer.weight": torch.zeros(2)}}, tmp_path / "file.pth")
    assert read_checkpoint(tmp_path / "file.pth").state["layer.weight"].sum() == 2
    assert read_checkpoint(tmp_path / "file.pth", ema=True).state["layer.weight"].sum() == 0


@pytest.mark.parametrize("ema", [True, False])
def test_a_file_without_weights_says_what_it_has(ema, tmp_path):
    torch.save({"epoch": 3, "optimizer": {}}, tmp_path / "file.pth")
    with pytest.raises(ValueError, match=r"ema_model.*; it has epoch, optimizer"):
        read_checkpoint(tmp_path / "file.pth", ema)


def test_a_lone_tensor_is_no_checkpoint(tmp_path):
    torch.save(torch.ones(2), tmp_path / "file.pth")
    with pytest.raises(ValueError, match="expected a dict with a model's weights, got Tensor"):
        read_checkpoint(tmp_path / "file.pth")


@pytest.mark.parametrize(
    "meta",
    [
        {"CLASSES": ("cat", "dog")},
        {"dataset_meta": {"classes": ["cat", "dog"]}},
        {"dataset_meta": {"CLASSES": ("cat", "dog")}},
    ],
    ids=["mmdet 2", "mmdet 3", "mmdet 3.0"],
)
def test_class_names_are_read_from_every_mmdet(meta, tmp_path):
    torch.save({"state_dict": WEIGHTS, "meta": meta}, tmp_path / "file.pth")
    assert read_checkpoint(tmp_path / "file.pth").classes == ("cat", "dog")


def test_an_mmdet_config_is_read_and_not_run(tmp_path):
    trace = tmp_path / "trace"
    text = (
        f"open({str(trace)!r}, 'w')\nmodel = dict(type='FCOS', neck={{'a': [1, -2.5]}}, backbone=dict(style='caffe'))\n"
    )
    torch.save({"state_dict": WEIGHTS, "meta": {"cfg": text}}, tmp_path / "file.pth")
    assert read_checkpoint(tmp_path / "file.pth").model == {
        "type": "FCOS",
        "neck": {"a": [1, -2.5]},
        "backbone": {"style": "caffe"},
    }
    assert not trace.exists()


@pytest.mark.parametrize(
    "text", ["", "model = (", "model = build()", "model = 3", "model = dict(a=open('x'))", "(" * 5000]
)
def test_a_config_that_is_no_plain_model_tells_nothing(text):
    assert model_description(text) == {}


@pytest.mark.parametrize(
    "saved", [{1: torch.ones(2)}, {"state_dict": {"layer.weight": 3}}], ids=["numbers", "no tensor"]
)
def test_names_and_tensors_are_asked_for(saved, tmp_path):
    torch.save(saved, tmp_path / "file.pth")
    with pytest.raises(ValueError, match="expected a dict of tensors"):
        read_checkpoint(tmp_path / "file.pth")


def test_a_tensor_that_claims_more_than_the_file_holds_is_refused(tmp_path):
    """A view of a single number may claim any size; to compare two such takes for ever."""
    torch.save({"class_embed.0.weight": torch.ones(1).expand(20, 2**31)}, tmp_path / "file.pth")
    with pytest.raises(ValueError, match=r"class_embed\.0\.weight claims 42949672960 numbers and holds fewer"):
        read_checkpoint(tmp_path / "file.pth")


@pytest.mark.parametrize("tensor", [torch.eye(3).to_sparse(), torch.empty(3, device="meta")], ids=["sparse", "empty"])
def test_what_is_no_plain_tensor_is_refused(tensor, tmp_path):
    torch.save({"state_dict": {"layer.weight": tensor}}, tmp_path / "file.pth")
    with pytest.raises(ValueError, match=r"layer\.weight is sparse, quantized or without numbers"):
        read_checkpoint(tmp_path / "file.pth")


def test_tensors_of_one_name_with_and_without_a_wrapper_are_refused(tmp_path):
    torch.save(
        {"state_dict": {"layer.weight": torch.ones(2), "module.layer.weight": torch.zeros(2)}}, tmp_path / "a.pth"
    )
    with pytest.raises(ValueError, match=r"a\.pth: holds some tensors twice"):
        read_checkpoint(tmp_path / "a.pth")

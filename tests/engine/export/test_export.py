"""Files that are exported give what their model gives, and say how they are to be used."""

import os
import re
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from detassign.data import DataSource
from detassign.engine.build import build_model
from detassign.engine.config import compose
from detassign.engine.export import export as module
from detassign.engine.export.check import compare
from detassign.engine.export.export import Wish, export
from detassign.engine.export.formats import format_named
from detassign.engine.export.metadata import AXES
from detassign.engine.export.predictor import ExportedPredictor
from detassign.engine.export.tracing import CannotTrace, in_format
from detassign.engine.predictor import Predictor
from detassign.engine.train import find_run

DOCUMENT = Path(__file__).parents[3] / "docs" / "export.md"
CLOSE = 1e-3  # pixels
QUICK = {"detr_tiny": None, "conditional_detr_tiny": None, "dino_r18_tiny": "ddq"}
"""Detectors that are always tried, with the scheme of each: dense, conditional and deformable attention, and NMS of queries."""
LONG = {
    "dab_detr_tiny": None,
    "dn_detr_tiny": None,
    "deformable_detr_tiny": None,
    "deformable_detr_two_stage_tiny": None,
    "dab_deformable_detr_tiny": None,
    "dn_dab_deformable_encoder_only_tiny": None,
    "dino_r18_tiny": "deta",
}
long = pytest.mark.skipif("DETASSIGN_LONG" not in os.environ, reason="takes minutes; DETASSIGN_LONG=1 runs it")


def exported(name, tmp_path, pictures, wish, scheme=None, changes=None):
    """How far a file of an untrained detector of two classes is from it."""
    config = compose(name, None, source(), changes={"input.scale": (96, 64)} | (changes or {}), scheme=scheme)
    torch.manual_seed(0)
    model = build_model(config)
    for parameter in model.parameters():  # boxes that differ from picture to picture, and scores that are not all alike
        parameter.data += 0.02 * torch.randn_like(parameter)
    torch.save({"state_dict": model.state_dict()}, tmp_path / "start.pth")
    return export(config, tmp_path / "start.pth", tmp_path / f"model.{wish.format}", wish, pictures)


def source():
    nowhere = Path("nowhere")
    return DataSource("mine", nowhere, nowhere, nowhere, nowhere, ("cat", "dog"), (1, 2))


def agrees(found):
    assert found.detections > 0
    assert found.boxes < CLOSE
    assert found.scores < CLOSE
    assert found.alone == 0


def test_onnx_agrees_with_its_model_and_says_how_it_is_used(onnx_run, tiny_run):
    _, about, found = onnx_run
    agrees(found)
    assert (found.pictures, found.batches) == (3, (1,))
    config, _ = find_run(tiny_run)
    assert about.classes == tuple(config["data"]["classes"])
    assert (about.batch, about.height, about.width, about.scale) == (1, 96, 96, (96, 96))
    assert (about.channels, about.most, about.half) == ("RGB", 100, False)


def test_torchscript_agrees_with_any_number_of_images(torchscript_run):
    _, about, found = torchscript_run
    agrees(found)
    assert (about.free, found.batches) == (("batch",), (1, 4))


@pytest.mark.parametrize("which", ["onnx_run", "torchscript_run"])
def test_a_file_predicts_what_its_run_does(which, request, tiny_run, pictures):
    file, run = ExportedPredictor(request.getfixturevalue(which)[0]), Predictor.load(*find_run(tiny_run))
    square = [pictures[0], np.ascontiguousarray(pictures[0][::-1]), np.zeros_like(pictures[0])]  # no padding in either
    wanted, found = (predictor(square, score=0.001, limit=7) for predictor in (run, file))
    assert [len(each.scores) for each in wanted] == [7, 7, 7]
    for pair in zip(wanted, found, strict=True):
        boxes, scores, alone = compare(*pair, 0.001, 7)
        assert (boxes < CLOSE, scores < 1e-5, alone) == (True, True, 0)


@pytest.mark.parametrize(
    ("name", "scheme"), [*QUICK.items(), *(pytest.param(*each, marks=long) for each in LONG.items())]
)
def test_families_agree_with_any_number_of_images(name, scheme, tmp_path, pictures):
    about, found = exported(name, tmp_path, pictures[:1], Wish("torchscript", batch=None), scheme)
    agrees(found)
    assert about.free == ("batch",)


@long
@pytest.mark.parametrize(("form", "dynamic"), [("onnx", False), ("onnx", True), ("pt2", True)])
@pytest.mark.parametrize(("name", "scheme"), [*QUICK.items(), *LONG.items()])
def test_families_agree_as_graphs(name, scheme, form, dynamic, tmp_path, pictures):
    about, found = exported(name, tmp_path, pictures[:2], Wish(form, dynamic=dynamic), scheme)
    agrees(found)
    assert about.free == (AXES if dynamic else ())


@pytest.mark.parametrize(
    "wish",
    [
        Wish("torchscript", batch=None, raw=True),
        *(pytest.param(Wish(form, raw=True), marks=long) for form in ("onnx", "pt2")),
    ],
    ids=lambda wish: wish.format,
)
@pytest.mark.parametrize("modulated", [False, True])
def test_deformable_convolutions_agree(modulated, wish, tmp_path, pictures):
    layers = {"type": "DCNv2" if modulated else "DCN", "deform_groups": 1, "fallback_on_stride": False}
    changes = {"model.backbone.dcn": layers, "model.backbone.stage_with_dcn": (False, False, True, True)}
    about, found = exported(
        "fcos_r50", tmp_path, pictures[:1], wish, changes=changes | {"model.backbone.init_cfg": None}
    )
    agrees(found)
    assert about.free == wish.free


def test_undecided_outputs_agree(tmp_path, pictures):
    about, found = exported("detr_tiny", tmp_path, pictures[:1], Wish("torchscript", raw=True))
    agrees(found)
    assert (about.outputs, about.most, about.score) == (("boxes", "scores"), None, None)
    with pytest.raises(ValueError, match="exported with --raw"):
        ExportedPredictor(tmp_path / "model.torchscript")


def test_half_is_half_as_large_and_near(tmp_path, pictures):
    sizes = []
    for half in (False, True):
        about, found = exported("fcos_tiny", tmp_path, pictures[:1], Wish("torchscript", half=half, score=0.001))
        assert about.half is half
        sizes.append((tmp_path / "model.torchscript").stat().st_size)
    assert 0 < found.boxes < 5
    assert sizes[1] < 0.6 * sizes[0]


@pytest.mark.parametrize("kind", ["torchscript", "pt2", "onnx"])
def test_half_of_a_query_detector_is_near(kind, tmp_path, pictures):
    if kind == "onnx":
        pytest.importorskip("onnxscript", reason="onnxscript, which torch writes ONNX with, is not installed")
        pytest.importorskip("onnxruntime", reason="onnxruntime, which runs ONNX, is not installed")
    about, found = exported("detr_tiny", tmp_path, pictures[:1], Wish(kind, half=True, raw=True))
    assert about.half
    assert 0 < found.boxes < 1  # pixels
    assert found.scores < 0.01


def test_torch_export_agrees_at_every_size(tmp_path, pictures):
    wish = Wish("pt2", dynamic=True, score=0.001, limit=11)
    about, found = exported("fcos_tiny", tmp_path, pictures[:2], wish)
    agrees(found)
    assert (about.score, about.most, about.free) == (0.001, 11, AXES)
    assert ExportedPredictor(tmp_path / "model.pt2").about == about


@pytest.mark.parametrize("free", [1, None])
def test_what_is_traced_and_cannot_be_saved_is_one_sentence_and_no_file(free, tmp_path, pictures, monkeypatch):
    class Same(torch.autograd.Function):
        @staticmethod
        def forward(ctx, images):
            return images.clone()

    class Opaque(module.Network):
        def forward(self, images, sizes):
            return super().forward(Same.apply(images), sizes)

    monkeypatch.setattr(module, "Network", Opaque)
    with pytest.raises(CannotTrace, match=r"cannot be written in this format \(.*Python function.*Same"):
        exported("fcos_tiny", tmp_path, (), Wish("torchscript", batch=free))
    assert {path.name for path in tmp_path.iterdir()} == {"start.pth"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full, a disk without room")
@pytest.mark.parametrize("form", ["torchscript", "pt2"])
def test_a_full_disk_is_an_error_of_the_disk_and_not_of_the_network(form):
    example = (torch.ones(1),)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # which torch calls deprecated
        made = (torch.jit.trace if form == "torchscript" else torch.export.export)(torch.nn.Identity(), example)
    with pytest.raises(OSError, match="No space left on device"), in_format():
        format_named(form).save(made, Path("/dev/full"), SimpleNamespace(text=str))


def test_a_file_that_differs_is_not_written(tmp_path, pictures, monkeypatch):
    monkeypatch.setattr(module, "FARTHEST", -1.0)
    with pytest.raises(ValueError, match="differs from its model by"):
        exported("fcos_tiny", tmp_path, pictures[:1], Wish("torchscript", score=0.001))
    assert {path.name for path in tmp_path.iterdir()} == {"start.pth"}


def test_pictures_in_which_nothing_is_found_compare_nothing(tmp_path, pictures):
    with pytest.raises(ValueError, match="finds nothing in these 1 pictures"):
        exported("detr_tiny", tmp_path, pictures[:1], Wish("torchscript", score=1.0))
    assert {path.name for path in tmp_path.iterdir()} == {"start.pth"}


def test_the_documented_script_prints_what_predict_finds(onnx_run, pictures, tmp_path):
    script = re.search(r"```py\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)[1]
    assert len([line for line in script.splitlines() if line.strip()]) <= 16
    cv2.imwrite(str(tmp_path / "photo.png"), pictures[1])
    (tmp_path / "script.py").write_text(script)
    command = [sys.executable, "script.py", str(onnx_run[0]), "photo.png"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout.splitlines()
    predictor = ExportedPredictor(onnx_run[0])
    found = predictor([pictures[1][..., ::-1]], score=0)[0]
    assert len(said) == len(found.scores) > 0
    for line, box, score, label in zip(said, found.boxes, found.scores, found.labels, strict=True):
        name, *numbers = line.rsplit(" ", 5)
        assert name == predictor.classes[label]
        np.testing.assert_allclose([float(number) for number in numbers], [score, *box], atol=0.006)

"""The benchmark of prediction: its sides and forms on small models, and its bookkeeping; no times."""

import json
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import _dynamo, nn

from detassign.bench.predict import forms, rows
from detassign.bench.predict.rows import Row
from detassign.bench.step import families as whole
from detassign.bench.step.conditions import Conditions, make_batch
from detassign.bench.step.contender import ours
from detassign.bench.step.families import MMDET, OURS, TORCHVISION, TRANSFORMERS, families, make_side
from detassign.cli import main
from detassign.configs.detectors import query_parts as parts
from detassign.configs.detectors.backbones import resnet

CONDITIONS = Conditions(size=(64, 96), batch=2, objects=3, steps=1)
ROW = Row("detr", "mmdet", "eager", 4, "float32", 0.25, 0.5, 0.5, 0.75)


def small(conditions=CONDITIONS):
    """Deformable DETR with one layer on a thin ResNet-18."""
    size = parts.Size(channels=32, heads=4, hidden=32, encoder_layers=1, decoder_layers=1, queries=10, norm_groups=4)
    backbone, _ = resnet(18, maps=3)
    backbone["base_channels"] = 8
    torch.manual_seed(0)
    return ours(parts.deformable_detr(backbone, (16, 32, 64), size), conditions)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_an_image_has_detections(precision):
    conditions = replace(CONDITIONS, precision=precision)
    contender, batch = small(), make_batch(conditions)
    found = forms.eager(contender, conditions)(batch)
    assert [len(each.pred_instances.scores) for each in found] == [300, 300]
    assert not contender.model.training
    assert not hasattr(batch["data_samples"][0], "pred_instances")  # the next side is given the same batch


def test_what_is_compiled_are_the_parts_with_weights(monkeypatch):
    compiled, options = [], []
    monkeypatch.setattr(nn.Module, "compile", lambda module, **given: compiled.append(module) or options.append(given))
    contender = small()
    forms.compiled(contender, CONDITIONS)
    model = contender.model
    assert compiled == [model.backbone, model.neck, model.encoder, model.queries, model.decoder, model.bbox_head]
    assert options == [{"dynamic": False}] * 6


class Scaled(nn.Module):
    """A part whose number torch compiles in."""

    def __init__(self, number):
        super().__init__()
        self.number, self.weight = number, nn.Parameter(torch.ones(()))

    def forward(self, images):
        return images * self.weight * self.number


class Parted(nn.Module):
    """Finds pictures; one part after the other."""

    def __init__(self, parts):
        super().__init__()
        self.parts = nn.ModuleList(Scaled(number) for number in range(parts))

    def children(self):
        return iter(self.parts)

    def test_step(self, batch):
        images = torch.stack(batch["inputs"]).float()
        for part in self.parts:
            images = part(images)
        return images


@pytest.fixture
def graphs(monkeypatch):
    """The shapes that torch compiles graphs for, none of which is translated."""
    found, compile_ = [], nn.Module.compile

    def backend(graph, inputs):
        found.append(tuple(next(tuple(each.shape) for each in inputs if getattr(each, "ndim", 0))))
        return graph.forward

    monkeypatch.setattr(nn.Module, "compile", lambda module, **given: compile_(module, backend=backend, **given))
    monkeypatch.setattr(whole, "find_spec", lambda package: None)
    yield found
    _dynamo.reset()


def test_every_condition_is_compiled_for_itself(monkeypatch, graphs):
    """More than torch keeps of one function, each with its batch as a number."""
    monkeypatch.setattr(rows, "make_side", lambda *_: SimpleNamespace(model=Parted(1), surroundings=nullcontext))
    batches, said = range(1, _dynamo.config.recompile_limit + 3), []
    every = [replace(CONDITIONS, batch=batch) for batch in batches]
    found = list(rows.measure(["detr"], ["compiled"], every, said.append))
    sides = 2  # ours and mmdet's, which share what was compiled
    assert len(found) == sides * len(every)
    assert not [sentence for sentence in said if "compiled" in sentence]
    assert graphs == [(batch, 3, 64, 96) for batch in batches]
    assert all(type(size) is int for shape in graphs for size in shape)


def test_what_torch_would_give_up_is_left_out(monkeypatch, graphs):
    most = _dynamo.config.recompile_limit
    sizes = {OURS: most, MMDET: most + 1}
    monkeypatch.setattr(
        rows, "make_side", lambda _, side, __: SimpleNamespace(model=Parted(sizes[side]), surroundings=nullcontext)
    )
    said = []
    found = list(rows.measure(["detr"], ["compiled"], [CONDITIONS], said.append))
    assert [row.side for row in found] == [OURS]
    assert len(graphs) == most
    assert any("detr by mmdet, compiled, float32: left out (" in sentence for sentence in said)


def test_an_exported_file_finds_what_the_model_does():
    pytest.importorskip("onnxscript", reason="onnxscript, which torch writes ONNX with, is not installed")
    pytest.importorskip("onnxruntime", reason="onnxruntime, which runs ONNX, is not installed")
    contender, batch = small(), make_batch(CONDITIONS)
    _, scores, _, count = forms.onnx(contender, CONDITIONS)(batch)
    wanted = torch.stack([each.pred_instances.scores for each in forms.eager(contender, CONDITIONS)(batch)])
    assert count.tolist() == [300, 300]
    torch.testing.assert_close(torch.from_numpy(scores), wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("change", [{"precision": "bfloat16"}, {"device": "cuda"}])
def test_a_file_is_of_float32_on_the_cpu(change):
    with pytest.raises(ValueError, match="runs on the CPU, in float32"):
        forms.onnx(None, replace(CONDITIONS, **change))


@pytest.mark.parametrize(("name", "side"), [("fcos", TORCHVISION), ("fcos", MMDET), ("detr", TRANSFORMERS)])
def test_a_peer_predicts(name, side):
    if side in families()[name].missing():
        pytest.skip(f"{side} is not installed")
    conditions = replace(CONDITIONS, precision="bfloat16", batch=3)
    found = forms.eager(make_side(name, side, conditions), conditions)(make_batch(conditions))
    parts = found if side == TRANSFORMERS else [found]  # logits and boxes; else what was found in each image
    assert [len(part) for part in parts] == [3] * len(parts)


def test_rows_are_beside_ours_in_the_same_form_and_what_fails_is_said(monkeypatch):
    def ready(name, side, form, conditions):
        if form == "compiled":
            raise RuntimeError("no  compiler")
        return lambda batch: None

    monkeypatch.setattr(rows, "_ready", ready)
    monkeypatch.setattr(whole, "find_spec", lambda package: None)
    monkeypatch.setattr(rows, "take_turns", lambda runs, steps: {key: (2.0, 4.0) for key in runs})
    said = []
    found = list(rows.measure(["detr"], ["eager", "compiled", "onnx"], [CONDITIONS], said.append))
    assert [(row.side, row.form, row.seconds, row.cpu_seconds, row.ratio) for row in found] == [
        (OURS, "eager", 1.0, 2.0, 1.0),
        (OURS, "onnx", 1.0, 2.0, 1.0),
        (MMDET, "eager", 1.0, 2.0, 1.0),
    ]
    assert said == [
        "detr beside Hugging Face is left out: pip install transformers",
        "detr by detassign, compiled, float32: left out (no compiler)",
        "detr by mmdet, compiled, float32: left out (no compiler)",
    ]


def test_the_command_prints_and_writes_images_a_second(tmp_path, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(rows, "measure", lambda *given: asked.append(given) or iter([ROW]))
    threads = str(torch.get_num_threads())
    with pytest.raises(SystemExit) as stopped:
        main(["bench", "predict", "--families", "detr", "--threads", threads, "--out", str(tmp_path / "rows.json")])
    assert stopped.value.code == 0
    assert [(each.batch, each.precision) for each in asked[0][2]] == [
        (1, "float32"),
        (1, "bfloat16"),
        (4, "float32"),
        (4, "bfloat16"),
    ]
    shown = capsys.readouterr().out
    assert "0.50" in shown
    written = json.loads((tmp_path / "rows.json").read_text())
    assert written["conditions"]["size"] == [640, 640]
    assert written["rows"][0]["images_per_second"] == 4.0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--families", "dinno"], "families: expected some of dino"),
        (["--forms", "tensorrt"], "forms: expected some of eager, compiled, onnx, got 'tensorrt'"),
        (["--batch-sizes", "0"], "expected numbers from 1 to 1024"),
        (["--precision", "float16"], "expected some of float32, bfloat16, got 'float16'"),
        (["--size", "640"], "HEIGHTxWIDTH"),
    ],
)
def test_a_mistake_is_one_sentence(capsys, arguments, sentence):
    with pytest.raises(SystemExit) as stopped:
        main(["bench", "predict", "--threads", str(torch.get_num_threads()), *arguments])
    assert stopped.value.code != 0
    assert sentence in " ".join(capsys.readouterr().err.split())

"""Files from outside are hostile: what is not ours, not whole or not trusted is refused in a sentence."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from detassign.engine.export import predictor as module
from detassign.engine.export.check import detections
from detassign.engine.export.metadata import KEY, parse
from detassign.engine.export.predictor import ExportedPredictor


@pytest.fixture
def onnx():
    return pytest.importorskip("onnx", reason="onnx, which reads ONNX files, is not installed")


@pytest.fixture
def other(onnx, tmp_path):
    """Writes an ONNX file of one weight, with these properties, and changes its tensor before."""

    def write(properties=None, change=lambda tensor: None):
        weight = onnx.numpy_helper.from_array(np.ones(3, np.float32), "weight")
        change(weight)
        given = onnx.helper.make_tensor_value_info("x", 1, [3])
        made = onnx.helper.make_tensor_value_info("y", 1, [3])
        graph = onnx.helper.make_graph(
            [onnx.helper.make_node("Add", ["x", "weight"], ["y"])], "other", [given], [made], [weight]
        )
        model = onnx.helper.make_model(graph)
        onnx.helper.set_model_props(model, properties or {})
        path = tmp_path / "other.onnx"
        path.write_bytes(model.SerializeToString())
        return path

    return write


def test_a_file_of_another_program_is_refused(other):
    with pytest.raises(ValueError, match=r"other\.onnx: no file of 'detassign export'"):
        ExportedPredictor(other())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": 99}, "of version 99"),
        ({"scale": [0, 0]}, "its scale cannot be right"),
        ({"height": 10**9}, "its height cannot be right"),
        ({"mean": ["a", 0, 0]}, "its numbers cannot be right"),
        ({"std": [0, 1, 1]}, "its std cannot be right"),
        ({"classes": "cat"}, "its classes cannot be right"),
        ({"most": "many"}, "its most cannot be right"),
        ({"outputs": ["boxes", "scores"]}, "its outputs cannot be right"),
        ({"more": 1}, "unexpected keyword argument"),
    ],
)
def test_metadata_that_no_export_writes_are_refused(torchscript_run, change, said):
    text = json.dumps({**json.loads(torchscript_run[1].text()), **change})
    with pytest.raises(ValueError, match=said):
        parse(text, "some.onnx")


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "[" * 10**5, '{"version": 1}'])
def test_what_is_no_metadata_is_refused(text):
    with pytest.raises(ValueError, match=r"some\.onnx: its metadata cannot be used"):
        parse(text, "some.onnx")


def test_weights_outside_of_the_file_are_not_opened(other, onnx, torchscript_run, tmp_path):
    def outside(tensor):
        onnx.external_data_helper.set_external_data(tensor, "../secret")
        tensor.ClearField("raw_data")

    (tmp_path.parent / "secret").write_bytes(b"\0" * 12)
    with pytest.raises(ValueError, match="weights lie in another file"):
        ExportedPredictor(other({KEY: torchscript_run[1].text()}, outside))


def test_a_graph_that_cannot_run_is_named(other, torchscript_run):
    with pytest.raises(ValueError, match="onnxruntime cannot run it"):
        ExportedPredictor(other({KEY: torchscript_run[1].text()}, lambda tensor: tensor.dims.append(7)))


@pytest.mark.parametrize("suffix", [".onnx", ".torchscript", ".pt2"])
def test_damaged_files_are_named(tmp_path, suffix):
    path = tmp_path / f"broken{suffix}"
    path.write_bytes(b"\x07broken")
    with pytest.raises(ValueError, match=rf"broken\{suffix}: no .*damaged"):
        ExportedPredictor(path, trust=True)


def test_a_program_runs_with_consent_alone(torchscript_run, tmp_path, monkeypatch):
    monkeypatch.setenv("DETASSIGN_STATE", str(tmp_path / "state"))
    with pytest.raises(ValueError, match="is a program, and this one was not exported here; say --trust"):
        ExportedPredictor(torchscript_run[0])
    assert ExportedPredictor(torchscript_run[0], trust=True).classes == torchscript_run[1].classes
    ExportedPredictor(torchscript_run[0])  # which is remembered


@pytest.mark.filterwarnings("ignore:`torch.jit.* is deprecated:DeprecationWarning")
def test_a_trace_of_another_program_is_refused(tmp_path):
    torch.jit.save(torch.jit.script(torch.nn.Identity()), str(tmp_path / "other.torchscript"))
    with pytest.raises(ValueError, match="no file of 'detassign export'"):
        ExportedPredictor(tmp_path / "other.torchscript", trust=True)


def test_missing_large_and_unknown_files_are_named(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"none\.onnx does not exist"):
        ExportedPredictor(tmp_path / "none.onnx")
    (tmp_path / "model.bin").write_bytes(b"12345")
    with pytest.raises(ValueError, match=r"ends in \.onnx, \.torchscript, \.pt2"):
        ExportedPredictor(tmp_path / "model.bin")
    monkeypatch.setattr(module, "LARGEST", 4)
    with pytest.raises(ValueError, match="has 5 bytes, more than the 4"):
        ExportedPredictor(tmp_path / "model.bin")


def test_metadata_survive_as_text(torchscript_run):
    about = replace(torchscript_run[1], classes=("a", "Ä\u2028"), height=None)
    assert parse(about.text(), "x") == about


@pytest.mark.parametrize("label", [-1, 2])
def test_labels_that_are_no_classes_are_refused(torchscript_run, label):
    about = replace(torchscript_run[1], classes=("cat", "dog"))
    outputs = [np.zeros((1, 3, 4), np.float32), np.ones((1, 3), np.float32), np.full((1, 3), label), np.array([2])]
    with pytest.raises(ValueError, match="labels that are none of its classes"):
        detections(outputs, about)


def test_pictures_of_another_shape_are_named(torchscript_run):
    predictor = ExportedPredictor(torchscript_run[0], trust=True)
    with pytest.raises(ValueError, match=r"image 0: expected an array \(H, W, 3\) of uint8, RGB, got \(9, 9\)"):
        predictor([np.zeros((9, 9), np.uint8)])
    with pytest.raises(ValueError, match="batch: expected a number of at least 1, got 0"):
        predictor([np.zeros((9, 9, 3), np.uint8)], batch=0)

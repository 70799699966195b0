"""convert on the command line, and what comes after it."""

import json
import os
from pathlib import Path

import pytest
import torch
from PIL import Image
from support.command import run

from detassign.cli.convert import show
from detassign.data import DataSource, make_dataset
from detassign.engine.build import build_model
from detassign.engine.config import compose, parse_changes, read
from detassign.engine.conversion.classes import COCO_CLASSES, COCO_IDS
from detassign.engine.conversion.fit import Report

TINY = ("--set", "model.encoder.layers=1", "--set", "model.queries.num_queries=8")


class Hostile:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture
def coco(tmp_path, tiny_detector):
    """A checkpoint file of a small detector of COCO's classes."""
    torch.save({"model": {f"module.{name}": tensor for name, tensor in tiny_detector.items()}}, tmp_path / "coco.pth")
    return tmp_path / "coco.pth"


@pytest.fixture(scope="session")
def tiny_detector():
    """The weights of DINO's tiny fragment, made smaller, with COCO's 80 classes."""
    files = [Path("nowhere")] * 4
    source = DataSource("coco", *files, COCO_CLASSES, COCO_IDS)
    config = compose("dino_r18_tiny", None, source, changes=parse_changes(TINY[1::2]))
    return build_model(config, initialise=False).state_dict()


def convert(checkpoint, out, *arguments):
    return run("convert", checkpoint, "--detector", "dino_r18_tiny", *TINY, "--out", out, *arguments)


def test_what_was_converted_predicts(coco, tmp_path, capsys):
    assert convert(coco, tmp_path / "new" / "dino.pth") == 0
    assert f"written: {tmp_path / 'new' / 'dino.pth'}" in capsys.readouterr().out
    Image.new("RGB", (60, 40), "gray").save(tmp_path / "a.png")
    arguments = ("--score", 0, "--max", 2, "--json-only", "--out", tmp_path / "found")
    assert run("predict", tmp_path / "new" / "dino.pth", tmp_path / "a.png", *arguments) == 0
    (entry,) = json.loads((tmp_path / "found" / "predictions.json").read_text())
    assert len(entry["detections"]) == 2


def test_fine_tuning_starts_from_what_was_converted(coco, tiny_detector, tmp_path, monkeypatch):
    """Five classes in place of 80: the class rows are new, the rest is the checkpoint's."""
    monkeypatch.chdir(tmp_path)
    make_dataset(tmp_path / "shapes", images=8, size=64)
    (tmp_path / "new").mkdir()
    start = tmp_path / "new" / "start.pth"
    assert convert(coco, start, "--data", tmp_path / "shapes", "--finetune-classes", 5) == 0
    config = {**read(tmp_path / "new" / "config.json"), "init": str(start)}
    model = build_model(config)
    assert torch.equal(model.state_dict()["neck.levels.0.0.weight"], tiny_detector["neck.levels.0.0.weight"])
    assert model.bbox_head.classes[0].weight.shape == (5, 96)


def test_the_report_as_json_names_every_tensor(coco, tiny_detector, tmp_path, capsys):
    (tmp_path / "new").mkdir()
    assert convert(coco, tmp_path / "new" / "dino.pth", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["complete"] is True
    assert report["mapped"] == {name: name for name in tiny_detector}
    assert report["classes"]["person"] == "person"


def test_a_table_of_which_the_first_rows_are_taken_is_told(capsys):
    show(Report("official", cut={"queries.position.weight": "the first 300 of 3300 rows"}), Path("group.pth"))
    said = " ".join(capsys.readouterr().out.split())
    assert "cut" in said
    assert "queries.position.weight: the first 300 of 3300 rows" in said


def test_another_architecture_is_a_table_and_one_sentence(coco, tmp_path, capsys):
    (tmp_path / "new").mkdir()
    assert run("convert", coco, "--detector", "fcos_tiny", "--out", tmp_path / "new" / "fcos.pth") == 1
    said = capsys.readouterr()
    assert "unexplained" in said.out
    assert said.err.startswith(f"detassign: {coco}: not a checkpoint of fcos_tiny-fcos-coco; ")
    assert said.err.endswith("of the model's missing, so nothing was written\n")
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere.pth", "--detector", "dino_r18_tiny"], "checkpoint 'nowhere.pth' does not exist"),
        (["coco.pth"], "--detector: name the checkpoint's architecture with it, or a recipe with --recipe"),
        (
            ["coco.pth", "--recipe", "tood"],
            "--detector: name the checkpoint's architecture with it, or a recipe with --recipe; tood names none",
        ),
        (
            ["coco.pth", "--recipe", "dw_r50_1x", "--detector", "fcos_r50"],
            "--recipe: dw_r50_1x names a detector already; leave out --detector fcos_r50",
        ),
        (
            ["coco.pth", "--detector", "dino_r18_tiny", "--out", "coco.pth/a.pth"],
            "--out: coco.pth is a file; expected a",
        ),
        (["coco.pth", "--detector", "dino_r18_tiny", "--out", "."], "--out: . is a folder; expected a file to write"),
        (
            ["coco.pth", "--detector", "dino_r18_tiny", "--classes", "91", "--finetune-classes", "2"],
            "--classes: numbers COCO's own; leave it out with --finetune-classes",
        ),
        (
            ["coco.pth", "--detector", "dino_r18_tini"],
            "unknown detector 'dino_r18_tini'; did you mean 'dino_r18_tiny'?",
        ),
    ],
)
def test_mistakes_are_one_sentence(arguments, sentence, coco, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run("convert", "--out", "a.pth", *arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"detassign: {sentence}")
    assert error.count("\n") == 1


def test_a_hostile_file_is_refused_and_runs_nothing(tmp_path, capsys):
    torch.save({"model": Hostile(tmp_path / "trace")}, tmp_path / "evil.pth")
    assert run("convert", tmp_path / "evil.pth", "--detector", "dino_r18_tiny", "--out", tmp_path / "a.pth") == 1
    assert "it could run code of its author's choice" in capsys.readouterr().err
    assert not (tmp_path / "trace").exists()


def test_a_text_file_is_no_checkpoint(tmp_path, capsys):
    (tmp_path / "notes.pth").write_text("no weights")
    assert run("convert", tmp_path / "notes.pth", "--detector", "dino_r18_tiny", "--out", tmp_path / "a.pth") == 1
    assert "cannot be read as a PyTorch checkpoint" in capsys.readouterr().err


def test_a_checkpoint_of_a_training_that_went_wrong_is_refused(coco, tmp_path, capsys):
    state = torch.load(coco)
    next(iter(state["model"].values()))[0] = torch.nan
    torch.save(state, coco)
    assert convert(coco, tmp_path / "new" / "a.pth") == 1
    assert "1 tensors hold NaN or infinity, such as " in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_data_of_another_number_of_classes_is_told(coco, tmp_path, capsys):
    make_dataset(tmp_path / "shapes", images=8, size=64)
    assert convert(coco, tmp_path / "a.pth", "--data", tmp_path / "shapes", "--finetune-classes", 3) == 1
    assert "--finetune-classes: the data has 5 classes, got 3" in capsys.readouterr().err
    assert convert(coco, tmp_path / "a.pth", "--data", tmp_path / "shapes") == 1
    assert "5 of the target's 5 are not among the checkpoint's, such as 'disk'" in capsys.readouterr().err

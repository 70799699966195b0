"""export on the command line, and predict with what it wrote."""

import json
import shutil

import pytest
from PIL import Image
from support.command import run


def test_what_is_exported_is_compared_and_predicts(tiny_run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file, photos = tmp_path / "tiny.torchscript", tmp_path / "photos"
    options = (
        "--format",
        "torchscript",
        "--batch",
        2,
        "--size",
        "128x64",
        "--score",
        0.001,
        "--check",
        2,
        "--out",
        file,
    )
    assert run("export", tiny_run, *options) == 0
    said = capsys.readouterr().out
    assert "2 x 3 x 64 x 128" in said
    assert "2 pictures, batch 2" in said
    assert "0 detections of one without a partner" in said
    assert f"written: {file}" in said.replace("\n", "")
    photos.mkdir()
    Image.new("RGB", (60, 40), "gray").save(photos / "a.png")
    assert run("predict", file, photos, "--out", tmp_path / "out", "--score", 0, "--max", 2) == 0
    entry = json.loads((tmp_path / "out" / "predictions.json").read_text())[0]
    assert (entry["width"], entry["height"], len(entry["detections"])) == (60, 40, 2)
    capsys.readouterr()
    assert run("predict", file, photos, "--half") == 1
    assert "--half:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--raw", "--score", 0.3), "--raw: leaves out the filter"),
        (("--out", "model.pth"), "a file of onnx has a name that ends in .onnx"),
        (("--out", "nowhere/model.onnx"), "the folder nowhere does not exist"),
        (("--size", "10x10000000"), "is no width and height"),
        (("--batch", "some"), "is neither a number"),
        (("--pictures", "none"), "none does not exist"),
    ],
)
def test_what_cannot_be_exported_is_said_before_any_work(tiny_run, tmp_path, capsys, monkeypatch, options, said):
    monkeypatch.chdir(tmp_path)
    assert run("export", tiny_run, *options) in (1, 2)
    assert said in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.iterdir())


def test_validation_images_that_are_gone_are_named(tiny_run, tmp_path, capsys):
    config = json.loads((tiny_run / "config.json").read_text())
    for split in ("train", "val"):
        config["data"][f"{split}_annotations"] = str(tmp_path / "gone.json")
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "best.pth").write_bytes((tiny_run / "best.pth").read_bytes())
    assert run("export", tmp_path / "best.pth", "--out", tmp_path / "x.onnx") == 1
    assert "validation images cannot be had" in capsys.readouterr().err


def test_a_damaged_picture_to_compare_on_is_named(tiny_run, tmp_path, capsys):
    Image.new("RGB", (64, 64), "red").save(tmp_path / "whole.png")
    (tmp_path / "half.png").write_bytes((tmp_path / "whole.png").read_bytes()[:60])
    command = ("export", tiny_run, "--format", "torchscript", "--out", tmp_path / "a.torchscript", "--pictures")
    assert run(*command, tmp_path / "half.png") == 1
    assert f"{tmp_path / 'half.png'}: the image is damaged or of an unknown kind" in capsys.readouterr().err.replace(
        "\n", ""
    )
    assert not (tmp_path / "a.torchscript").exists()


def test_a_runs_name_does_not_lead_out_of_the_folder(tiny_run, tmp_path, capsys, monkeypatch):
    copied = shutil.copytree(tiny_run, tmp_path / "run")
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps({**config, "name": "../../escaped"}))
    (tmp_path / "work" / "here").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work" / "here")
    assert run("export", copied, "--format", "torchscript", "--check", 0) == 0
    assert len(list((tmp_path / "work" / "here" / "runs").glob("*.torchscript"))) == 1
    assert not list(tmp_path.glob("*.torchscript")) + list((tmp_path / "work").glob("*.torchscript"))

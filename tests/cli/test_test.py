"""`detassign test`: the report of a run and of anybody's detections."""

import json
import os
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from support.command import run
from support.scored import SIDE, random_split

from detassign.data import make_dataset, resolve
from detassign.engine.build import build_model
from detassign.engine.config import compose
from detassign.engine.detected import Detected
from detassign.engine.evaluation import evaluated
from detassign.engine.evaluation_report import write_report
from detassign.engine.files import write_json
from detassign.engine.notes import Note
from detassign.evidence.drawing.mistakes import CROWD
from detassign.evidence.evaluation.analysis import analyse

FILES = {"metrics.json", "detections.json", "report.html", "worst", "confusion.png", "precision_recall.png"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder of random objects, and detections of its val split in results.json beside it."""
    folder = tmp_path_factory.mktemp("split") / "cells"
    (folder / "images").mkdir(parents=True)
    truth, detections = random_split(0, images=4)
    for name in truth.file_names:
        Image.new("RGB", (int(SIDE), int(SIDE)), "white").save(folder / "images" / name)
    for split in ("train", "val"):
        write_json(truth.document(), folder / f"{split}.json")
    write_json(detections, folder.parent / "results.json")
    return folder


@pytest.fixture(scope="module")
def reported(data, tmp_path_factory):
    """The report of these detections."""
    folder = tmp_path_factory.mktemp("reports") / "report"
    assert run("test", "--detections", data.parent / "results.json", "--data", data, "--out", folder) == 0
    return folder


def test_the_report_holds_numbers_detections_a_page_and_pictures(data, reported):
    assert {path.name for path in reported.iterdir()} >= FILES
    metrics = json.loads((reported / "metrics.json").read_text())
    assert {"AP", "AP50", "APs", "AR", "best", "classes", "errors", "confusion", "curves", "worst"} <= set(metrics)
    assert metrics["images"] == 4
    found, given = (
        json.loads(path.read_text()) for path in (reported / "detections.json", data.parent / "results.json")
    )
    assert found == given
    drawn = sorted(path.name for path in (reported / "worst").iterdir())
    assert len(drawn) == len(metrics["worst"]) > 0
    assert drawn[0] == f"01-{metrics['worst'][0]['file']}"
    for path in [*reported.glob("*.png"), *(reported / "worst").iterdir()]:
        with Image.open(path) as picture:
            assert np.asarray(picture.convert("L")).std() > 1, path


def test_the_page_asks_no_address_for_anything(reported):
    text = (reported / "report.html").read_text()
    assert "default-src 'none'" in text
    assert not re.search(r"<script|<link|(src|href)=\"(?!data:image/jpeg)", text)
    assert not re.search(r"url\((?!#)", text)
    for heading in (
        "In words",
        "Which detections to keep",
        "What is taken for what",
        "What goes wrong",
        "The worst images",
    ):
        assert f"<h2>{heading}</h2>" in text
    assert text.count("<img ") == 2 * len(list((reported / "worst").iterdir()))


def test_detections_of_a_report_measure_the_same(data, reported, tmp_path):
    assert run("test", "--detections", reported / "detections.json", "--data", data, "--out", tmp_path / "again") == 0
    first, again = (json.loads((folder / "metrics.json").read_text()) for folder in (reported, tmp_path / "again"))
    assert first.pop("title") != again.pop("title")
    assert first.pop("detections of") != again.pop("detections of")
    assert first == again


def test_the_terminal_says_what_is_best_and_what_costs_most_in_80_columns(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "eval-results-val").mkdir(parents=True)  # of somebody else: it is not written into
    assert run("test", "--detections", data.parent / "results.json", "--data", data) == 0
    shown = capsys.readouterr().out
    assert shown.splitlines()[-1] == "report: runs/eval-results-val-2"
    metrics = json.loads((tmp_path / "runs/eval-results-val-2/metrics.json").read_text())
    assert all(len(line) <= 80 for line in shown.splitlines())
    assert f"{100 * metrics['AP50']:.1f}" in shown
    for name in ("all", *metrics["classes"]):
        own = metrics["best"] if name == "all" else metrics["classes"][name]["best"]
        row = next(line for line in shown.splitlines() if line.startswith(f"│ {name} "))
        assert f"{own['threshold']:.3f}" in row
        assert f"{100 * own['F1']:.1f}" in row
    kinds = {name: found["AP50"] for name, found in metrics["errors"].items() if "count" in found}
    costliest = sorted(kinds, key=kinds.__getitem__, reverse=True)[:3]
    said = re.search(r"what costs most AP50: (.*?)\nreport", shown, re.DOTALL)[1]
    assert re.findall(r"(\w+) [\d.]+ \(", said) == costliest


def test_no_report_writes_nothing(data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command = ("test", "--detections", data.parent / "results.json", "--data", data)
    assert run(*command, "--no-report", "--json") == 0
    assert json.loads(capsys.readouterr().out)["AP"] > 0
    assert not list(tmp_path.iterdir())
    assert run(*command, "--no-report", "--json", "--max", 1) == 0
    assert json.loads(capsys.readouterr().out)["AP"] < 0.1


BAD = {
    "none": (None, "results.json does not exist"),
    "no json": ("[{", "no JSON"),
    "an object": (
        {"annotations": []},
        "expected COCO results, a list of objects with image_id, category_id, bbox, score",
    ),
    "numbers": ([1], "[0] is a number; expected an object"),
    "no score": ([{"image_id": 10, "category_id": 2, "bbox": [0, 0, 9, 9]}], "'score' of [0] must be a finite number"),
    "NaN": (
        [{"image_id": 10, "category_id": 2, "bbox": [0, 0, 9, 9], "score": float("nan")}],
        "'score' of [0] must be",
    ),
    "text": (
        [{"image_id": "10", "category_id": 2, "bbox": [0, 0, 9, 9], "score": 1}],
        "'image_id' of [0] must be a whole",
    ),
    "side below 0": (
        [{"image_id": 10, "category_id": 2, "bbox": [0, 0, -9, 9], "score": 1}],
        "'bbox' of [0] must be four",
    ),
    "infinite": (
        [{"image_id": 10, "category_id": 2, "bbox": [0, 0, 1e400, 9], "score": 1}],
        "'bbox' of [0] must be four",
    ),
    "beyond any float": (
        [{"image_id": 10, "category_id": 2, "bbox": [0, 0, 9, 9], "score": 10**400}],
        "'score' of [0] must be a finite number",
    ),
    "another image": (
        [{"image_id": 7, "category_id": 2, "bbox": [0, 0, 9, 9], "score": 1}],
        "1 of 1 detections have an unknown image_id, such as 7, which val.json does not list; are they of another data set",
    ),
    "another category": (
        [{"image_id": 10, "category_id": 1, "bbox": [0, 0, 9, 9], "score": 1}],
        "1 of 1 detections have an unknown category_id, such as 1, which val.json does not list",
    ),
}


@pytest.mark.parametrize(("content", "sentence"), BAD.values(), ids=BAD)
def test_a_file_that_is_no_detections_of_the_data_is_refused_in_one_sentence(data, tmp_path, content, sentence, capsys):
    if content is not None:
        (tmp_path / "results.json").write_text(content if isinstance(content, str) else json.dumps(content))
    command = ("test", "--detections", tmp_path / "results.json", "--data", data, "--out", tmp_path / "report")
    assert run(*command) == 1
    said = capsys.readouterr().err
    assert said.startswith("detassign: ")
    assert said.count("\n") == 1
    assert sentence in said
    assert not (tmp_path / "report").exists()


def test_a_run_or_detections_are_named_and_not_both(data, tmp_path, capsys):
    assert run("test") == 2
    assert run("test", tmp_path, "--detections", "results.json") == 2
    assert run("test", "--detections", "results.json") == 1
    assert "detections: need data" in capsys.readouterr().err
    assert run("test", "--detections", "results.json", "--data", data, "--device", "cpu") == 1
    assert "device: belongs to a run" in capsys.readouterr().err


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run's folder with weights that have learnt nothing."""
    place = tmp_path_factory.mktemp("trained")
    make_dataset(place / "shapes", images=4, size=64)
    config = compose("fcos_tiny", "fcos", resolve(place / "shapes"), changes={"input.scale": (64, 64)})
    (place / "run").mkdir()
    write_json(config, place / "run" / "config.json")
    torch.manual_seed(0)
    torch.save({"state_dict": build_model(config).state_dict()}, place / "run" / "epoch_1.pth")
    return place / "run"


def test_a_runs_report_lies_in_its_folder_and_is_replaced_by_the_next(trained, tmp_path, capsys):
    folder = shutil.copytree(trained, tmp_path / "run")
    assert run("test", folder) == 0
    report = folder / "eval-val"
    first = json.loads((report / "metrics.json").read_text())
    assert first["data"] == "shapes"
    (report / "scores.png").write_bytes(b"")
    assert run("test", folder, "--json") == 0
    said = capsys.readouterr()
    assert f"report: {report}" in said.err
    assert json.loads(said.out[said.out.index("\n{") :])["AP"] == first["AP"]
    assert json.loads((report / "metrics.json").read_text()) == first
    assert {path.name for path in folder.iterdir()} == {"config.json", "epoch_1.pth", "eval-val"}
    (report / "notes.txt").write_text("mine")
    assert run("test", folder) == 1
    assert "eval-val holds files already, such as" in capsys.readouterr().err
    assert (report / "notes.txt").read_text() == "mine"


def test_a_run_that_cannot_be_written_to_is_measured_all_the_same(trained, tmp_path, monkeypatch, capsys):
    folder = shutil.copytree(trained, tmp_path / "run")
    usual = os.access
    monkeypatch.setattr(os, "access", lambda path, mode, **how: mode != os.W_OK and usual(path, mode, **how))
    with pytest.warns(Note, match="no report: .* name its folder with --out"):
        assert run("test", folder) == 0
    assert "AP50" in capsys.readouterr().out
    assert not (folder / "eval-val").exists()
    assert run("test", folder, "--out", tmp_path / "elsewhere") == 1
    assert "nothing can be written into" in capsys.readouterr().err


def test_other_data_has_a_report_of_its_own(trained, tmp_path):
    folder = shutil.copytree(trained, tmp_path / "run")
    shutil.copytree(trained.parent / "shapes", tmp_path / "others")
    assert run("test", folder, "--data", tmp_path / "others") == 0
    assert json.loads((folder / "eval-others-val" / "metrics.json").read_text())["data"] == "others"


def test_an_image_that_cannot_be_read_is_named_in_the_report(tmp_path):
    truth, detections = random_split(1, images=3)
    evaluation = evaluated(truth, Detected.read(detections, truth.classes))
    analysis = analyse(evaluation.matching, evaluation.accuracy)
    write_report(tmp_path / "report", "<cells>", {}, analysis, truth, tmp_path, detections)
    text = (tmp_path / "report" / "report.html").read_text()
    assert text.count("The image cannot be read.") == len(analysis.worst) > 0
    assert "<h1>&lt;cells&gt;</h1>" in text


def test_crowd_regions_are_drawn_beneath_the_objects_and_long_names_are_cut(tmp_path):
    name = f"{'ä' * 120}.png"
    Image.new("RGB", (int(SIDE), int(SIDE)), "white").save(tmp_path / name)
    truth, detections = random_split(1, images=1)
    places = np.zeros(3, int)
    boxes, crowd = np.array([[10.0, 10, 60, 60], [100, 100, 80, 80], [5, 5, 20, 20]]), np.array([False, True, False])
    columns = {
        "ids": places + 1,
        "places": places,
        "owners": places,
        "labels": places,
        "boxes": boxes,
        "areas": boxes[:, 2] ** 2,
    }
    truth = replace(truth, file_names=[name], **columns, crowd=crowd)
    evaluation = evaluated(truth, Detected.read(detections, truth.classes))
    write_report(
        tmp_path / "report", "", {}, analyse(evaluation.matching, evaluation.accuracy), truth, tmp_path, detections
    )
    (drawn,) = (tmp_path / "report" / "worst").iterdir()
    with Image.open(drawn) as picture:
        left = np.asarray(picture.convert("RGB"))[:, : picture.height]
    zoom = picture.height / SIDE
    assert tuple(left[round(140 * zoom), round(100 * zoom)]) == CROWD
    assert tuple(left[round(50 * zoom), round(10 * zoom)]) != CROWD

"""predict on the command line."""

import json
import re

import cv2
import numpy as np
import pytest
from PIL import Image
from support.command import run


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """A folder of two images in an otherwise empty working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for name, size in (("a.png", (60, 40)), ("b.jpg", (40, 60))):
        Image.new("RGB", size, "gray").save(tmp_path / "photos" / name)
    return tmp_path / "photos"


def test_a_folder_gives_drawings_and_a_list(tiny_run, photos, tmp_path, capsys):
    assert run("predict", tiny_run, photos, "--out", tmp_path / "out", "--score", 0, "--max", 2) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a.png", "b.png", "predictions.json"}
    entries = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert [len(entry["detections"]) for entry in entries] == [2, 2]
    by = f"{tiny_run / 'best.pth'}, epoch 1"
    first, second = capsys.readouterr().out.splitlines()
    assert first == f"2 images, 4 detections by {by}: {tmp_path / 'out'}"
    assert re.fullmatch(r"\S+ images a second; an image: reading \S+ ms, network \S+ ms, writing \S+ ms", second)


def test_what_is_left_out_is_said_and_no_failure(tiny_run, photos, tmp_path, capsys):
    (photos / "c.heic").write_bytes(b"\0" * 64)
    (photos / "more").mkdir()
    Image.new("RGB", (60, 40), "gray").save(photos / "more" / "a.jfif", "JPEG")
    assert run("predict", tiny_run, photos, "--out", tmp_path / "out", "--json-only") == 0
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("detassign: ")]
    assert said == [f"detassign: {photos}: left out: 1 .heic, 1 folder (see --recursive)"]
    assert run("predict", tiny_run, photos, "--out", tmp_path / "all", "--json-only", "--recursive") == 0
    entries = json.loads((tmp_path / "all" / "predictions.json").read_text())
    assert [entry["file"] for entry in entries] == [str(photos / name) for name in ("a.png", "b.jpg", "more/a.jfif")]


def test_patterns_lists_forms_and_crops(tiny_run, photos, tmp_path, capsys):
    (tmp_path / "list.txt").write_text("photos/b.jpg\n")
    options = (
        "--json-only",
        "--score",
        0,
        "--max",
        1,
        "--crops",
        "--format",
        "coco",
        "--format",
        "yolo",
        "--format",
        "csv",
    )
    assert run("predict", tiny_run, "photos/*.png", "@list.txt", "--out", "out", *options) == 0
    files = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    crops = {name for name in files if name.startswith("crops")}
    lists = {"predictions.json", "coco.json", "predictions.csv", "classes.txt", "labels/a.txt", "labels/b.txt"}
    assert files - crops == lists
    assert len(crops) == 2
    assert len(json.loads((tmp_path / "out" / "coco.json").read_text())) == 2


def test_results_take_the_ids_of_annotations(tiny_run, photos, tmp_path, capsys):
    images = [{"id": 7, "file_name": "b.jpg"}, {"id": 8, "file_name": "photos/b.jpg"}]
    (tmp_path / "val.json").write_text(json.dumps({"images": images}))
    options = ("--json-only", "--score", 0, "--max", 1, "--out", "out", "--ids", "val.json")
    assert run("predict", tiny_run, "photos/b.jpg", *options, "--format", "coco") == 0
    assert [entry["image_id"] for entry in json.loads((tmp_path / "out" / "coco.json").read_text())] == [8]
    assert run("predict", tiny_run, "photos/b.jpg", *options) == 1
    assert capsys.readouterr().err.endswith("detassign: --ids val.json: belongs to --format coco\n")


def test_a_video_beside_images_has_files_of_its_own(tiny_run, photos, tmp_path, capsys):
    writer = cv2.VideoWriter(str(tmp_path / "a.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (64, 48))
    for _ in range(4):
        writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
    options = ("--score", 0, "--max", 2, "--every", 2, "--batch", 2)
    assert run("predict", tiny_run, "a.avi", photos / "a.png", "--out", "out", *options) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"predictions.json", "a.png", "a.jsonl", "a.mp4"}
    assert capsys.readouterr().out.startswith("1 image, 2 frames of 1 video, 6 detections by ")


def test_a_video_that_cannot_be_read_is_one_line_and_leaves_nothing(tiny_run, photos, tmp_path, capsys):
    (tmp_path / "junk.mp4").write_text("no video")
    assert run("predict", tiny_run, "junk.mp4", "--out", "out") == 1
    told = capsys.readouterr()
    assert "detassign: junk.mp4: cannot be read as a video" in told.err.splitlines()
    assert told.out.startswith("0 images, 0 detections by ")
    assert not (tmp_path / "out").exists()


def test_batches_and_narrow_numbers_are_taken(tiny_run, photos, tmp_path, capsys):
    options = ("--json-only", "--score", 0, "--max", 2, "--batch", 2, "--half")
    assert run("predict", tiny_run, photos, "--out", tmp_path / "out", *options) == 0
    assert capsys.readouterr().out.startswith("2 images, 4 detections by ")


def test_without_out_every_prediction_has_a_new_folder(tiny_run, photos, tmp_path):
    for _ in range(2):
        assert run("predict", next(tiny_run.glob("*.pth")), photos / "a.png", "--json-only") == 0
    folders = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert folders == ["predict-fcos_tiny-fcos-shapes", "predict-fcos_tiny-fcos-shapes-2"]


def test_an_unreadable_image_is_one_line_and_exit_status_1(tiny_run, photos, tmp_path, capsys):
    (photos / "c.jpg").write_text("no image")
    assert run("predict", tiny_run, photos, "--out", tmp_path / "out") == 1
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("detassign: ")]
    assert said == [f"detassign: {photos / 'c.jpg'}: cannot be read as an image"]
    assert len(json.loads((tmp_path / "out" / "predictions.json").read_text())) == 2


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"run": "nowhere"}, "run folder nowhere does not exist"),
        ({"images": "nowhere.png"}, "image nowhere.png does not exist"),
        ({"images": "photos/*.tif"}, "no file matches photos/*.tif"),
        ({"images": "@list.txt"}, "list list.txt does not exist"),
        ({"out": "photos"}, "photos holds files already, such as 'a.png'; name a new or empty folder"),
        ({"device": "tpu3"}, "device: expected auto, cpu or cuda[:index], got 'tpu3'"),
    ],
)
def test_mistakes_are_one_sentence(change, sentence, tiny_run, photos, capsys):
    given = {"run": tiny_run, "images": photos, "out": "out", "device": "cpu", **change}
    assert run("predict", given["run"], given["images"], "--out", given["out"], "--device", given["device"]) == 1
    assert capsys.readouterr().err == f"detassign: {sentence}\n"


def test_scores_beyond_one_and_no_image_are_refused(tiny_run, photos, capsys):
    assert run("predict", tiny_run, photos, "--score", 2) == 2
    assert "--score" in capsys.readouterr().err
    assert run("predict", tiny_run) == 2
    assert "FILES" in capsys.readouterr().err

"""Forms of what is found: read again by those who know them."""

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO

from detassign.data import DataSource
from detassign.engine.notes import Note
from detassign.engine.prediction.drawing import cut
from detassign.engine.prediction.naming import Named, distinct_stems, named, warn_of_shared_ids
from detassign.engine.prediction.reading import Picture
from detassign.engine.prediction.writing import FORMS, Found, written
from detassign.heads import Detections

NOWHERE = Path("nowhere")
SOURCE = DataSource("mine", NOWHERE, NOWHERE, NOWHERE, NOWHERE, ("cat", "../big dog"), (3, 8))
BOXES = [[10.0, 5.0, 30.0, 25.0], [-4.0, 30.5, 20.0, 60.0]]


@pytest.fixture
def found():
    """Two detections in an image of 80 x 40 pixels, and none in another."""
    pixels = np.arange(40 * 80 * 3, dtype=np.int64).astype(np.uint8).reshape(40, 80, 3)
    first, second = named([Path("in/000000000139.jpg"), Path('in/a "b", c.jpg')])
    picture = Picture(80, 40, {"inputs": torch.zeros(3, 4, 8)}, pixels)
    some = Detections(torch.tensor(BOXES), torch.tensor([0.75, 0.5]), torch.tensor([1, 0]))
    none = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.long))
    return [
        Found(first, picture, some, "000000000139.png"),
        Found(second, picture, none),
    ]


def write(form, found, folder):
    with FORMS[form](folder, SOURCE) as add:
        for each in found:
            add(each)


def test_list_has_every_image(found, tmp_path):
    write("json", found, tmp_path)
    first, second = json.loads((tmp_path / "predictions.json").read_text())
    assert (first["file"], first["width"], first["height"], first["drawing"]) == (
        "in/000000000139.jpg", 80, 40, "000000000139.png",
    )  # fmt: skip
    assert first["detections"][0] == {"label": "../big dog", "score": 0.75, "box": BOXES[0]}
    assert (second["drawing"], second["detections"]) == (None, [])


def test_pycocotools_reads_the_results(found, tmp_path):
    write("coco", found, tmp_path)
    truth = COCO()
    truth.dataset = {"images": [{"id": 139}], "categories": [{"id": 3}, {"id": 8}], "annotations": []}
    truth.createIndex()
    results = truth.loadRes(str(tmp_path / "coco.json")).anns.values()
    wanted = [(139, 8, [10, 5, 20, 20], 0.75), (139, 3, [-4, 30.5, 24, 29.5], 0.5)]
    assert [(one["image_id"], one["category_id"], one["bbox"], one["score"]) for one in results] == wanted


def test_an_image_without_a_number_is_called_by_its_file(found, tmp_path):
    write("coco", [Found(named([Path("in/cat.jpg")])[0], found[0].picture, found[0].detections)], tmp_path)
    assert {one["image_id"] for one in json.loads((tmp_path / "coco.json").read_text())} == {"cat.jpg"}


def test_table_is_read_as_csv(found, tmp_path):
    write("csv", found, tmp_path)
    with (tmp_path / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["file"], row["label"], row["score"]) for row in rows] == [
        ("in/000000000139.jpg", "../big dog", "0.7500"),
        ("in/000000000139.jpg", "cat", "0.5000"),
    ]
    assert [[float(row[side]) for side in ("x1", "y1", "x2", "y2")] for row in rows] == BOXES


def test_yolo_has_shares_of_the_image_that_end_at_its_border_in_a_file_for_each(found, tmp_path):
    write("yolo", found, tmp_path)
    lines = (tmp_path / "labels" / "000000000139.txt").read_text().splitlines()
    assert lines == ["1 0.250000 0.375000 0.250000 0.500000 0.7500", "0 0.125000 0.881250 0.250000 0.237500 0.5000"]
    assert (tmp_path / "labels" / 'a "b", c.txt').read_text() == ""
    assert (tmp_path / "classes.txt").read_text().splitlines() == ["cat", "../big dog"]


@pytest.mark.parametrize("form", FORMS)
def test_an_interruption_keeps_what_was_done_and_nothing_half(form, found, tmp_path):
    def interrupted():
        with FORMS[form](tmp_path, SOURCE) as add:
            add(found[0])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in written if path.suffix == ".part"]
    assert any("0.75" in path.read_text() for path in written)


def test_crops_are_what_the_boxes_hold_inside_the_image(found, tmp_path):
    cut(found[0], tmp_path, SOURCE.classes)
    paths = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.png"))
    assert paths == [Path("crops/big-dog/000000000139-1.png"), Path("crops/cat/000000000139-2.png")]
    pixels = found[0].picture.pixels
    for path, part in zip(paths, (pixels[5:25, 10:30], pixels[30:40, 0:20]), strict=True):
        with Image.open(tmp_path / path) as image:
            assert np.array_equal(np.asarray(image), part[..., ::-1])


def test_a_box_beside_the_image_has_no_crop(found, tmp_path):
    beside = Detections(torch.tensor([[90.0, 0.0, 99.0, 9.0]]), torch.tensor([0.9]), torch.tensor([0]))
    cut(Found(Named(Path("a.png"), "a", "a.png"), found[0].picture, beside), tmp_path, SOURCE.classes)
    assert list(tmp_path.iterdir()) == []


def test_names_that_differ_by_case_or_look_numbered_stay_apart():
    names = distinct_stems([Path("cat.jpg"), Path("Cat.jpg"), Path("cat-2.jpg"), Path("dog.tar.png")])
    assert names == ["cat", "Cat-2", "cat-2-2", "dog.tar"]
    assert len({name.lower() for name in names}) == len(names)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ([], "val.json: expected COCO annotations, with images that have an id and a file_name"),
        ({"images": [{"id": "7", "file_name": "b.jpg"}]}, "val.json: expected COCO annotations"),
        (
            {"images": [{"id": 7, "file_name": "in/b.jpg"}, {"id": 8, "file_name": ""}]},
            "val.json: lists no image b.jpg",
        ),
    ],
)
def test_annotations_without_the_ids_are_one_sentence(content, sentence, tmp_path):
    (tmp_path / "val.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=sentence):
        named([Path("b.jpg")], tmp_path / "val.json")


def test_names_of_files_that_are_no_text_are_written_as_their_bytes(tmp_path):
    with written(tmp_path / "list.txt") as file:
        file.write(os.fsdecode(b"caf\xe9.png"))
    assert (tmp_path / "list.txt").read_bytes() == b"caf\xe9.png"


def test_files_that_coco_results_cannot_tell_apart_are_named(recwarn):
    files = [Path(name) for name in ("a/1.jpg", "b/0001.png", "b/2.jpg", "c/1.jpg")]
    warn_of_shared_ids(named(files[1:3]))
    assert not recwarn.list
    with pytest.warns(
        Note, match=r"a/1\.jpg and b/0001\.png have the same image id, 1, and 1 more files share theirs; --ids"
    ):
        warn_of_shared_ids(named(files))

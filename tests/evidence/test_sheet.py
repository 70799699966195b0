"""A data set at a glance: which pictures are chosen, and what is drawn of them."""

import struct
import zlib

import cv2
import numpy as np
import pytest

from detassign.data.table import read_table
from detassign.evidence.drawing.sheet import chosen, draw, objects_of, pictures_of

CLASSES = ["cat", "$x$", "Bär"]


def a_table(owners, labels, crowd=None):
    count = max(owners) + 1
    images = [{"id": k, "file_name": f"{k}.png", "width": 40, "height": 30} for k in range(1, count + 1)]
    annotations = [
        {
            "id": k,
            "image_id": owner + 1,
            "category_id": label + 1,
            "bbox": [4, 3, 8, 8],
            "area": 64,
            "iscrowd": int(k == crowd),
        }
        for k, (owner, label) in enumerate(zip(owners, labels, strict=True), 1)
    ]
    categories = {number: name for number, name in enumerate(CLASSES, 1)}
    return read_table({"images": images, "annotations": annotations}, categories, "")[0]


def test_pictures_that_bring_a_new_class_come_first_and_the_choice_is_the_seeds():
    table = a_table([*range(40), 7, 23], [0] * 40 + [1, 2])
    assert {7, 23} <= set(chosen(table, 3, seed=0))
    assert len(chosen(table, 12, seed=0)) == len(set(chosen(table, 12, seed=0))) == 12
    assert chosen(table, 12, seed=0) == chosen(table, 12, seed=0) != chosen(table, 12, seed=1)
    assert chosen(table, 100, seed=0) == list(range(40))


def test_the_sheet_holds_boxes_names_counts_and_sizes(tmp_path):
    table = a_table([0, 0, 1], [0, 1, 2], crowd=2)
    for name in table.file_names:
        cv2.imwrite(str(tmp_path / name), np.full((30, 40, 3), (255, 0, 0), np.uint8))
    pictures = pictures_of(table, tmp_path, 12, seed=0)
    assert pictures[0].pixels[0, 0].tolist() == [0, 0, 255]
    assert pictures[0].boxes.tolist() == [[4, 3, 12, 11]] * 2
    objects = objects_of(table)
    assert objects.labels.tolist() == [0, 2]
    assert objects.sides.tolist() == [8, 8]
    figure = draw("set", pictures, {"train": objects, "val": objects}, CLASSES)
    first, second, classes, sizes = figure.axes
    assert [patch.get_hatch() for patch in first.patches] == [None, "////"]
    assert [text.get_text() for text in first.texts] == ["cat"]
    assert "1 object" in first.get_title()
    assert len(second.patches) == 1
    assert [bar.get_width() for bar in classes.patches] == [1, 1, 0, 1, 1, 0]
    assert len(sizes.patches) == 2
    figure.canvas.draw()


def test_a_picture_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"1\.png cannot be read"):
        pictures_of(a_table([0], [0]), tmp_path, 1, seed=0)


def test_a_picture_that_would_fill_the_memory_is_not_decoded(tmp_path, monkeypatch):
    header = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    content = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", len(header)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (tmp_path / "1.png").write_bytes(content)
    monkeypatch.setattr(cv2, "imread", lambda *_: pytest.fail("it was decoded"))
    with pytest.raises(ValueError, match=r"1\.png cannot be read"):
        pictures_of(a_table([0], [0]), tmp_path, 1, seed=0)

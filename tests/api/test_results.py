"""What a result can be turned into."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from detassign.results import Result

PIXELS = np.full((40, 60, 3), 200, np.uint8)


@pytest.fixture
def result():
    boxes = torch.tensor([[5.0, 6.0, 25.0, 36.0], [30.0, 10.0, 50.0, 20.0]])
    kinds = {"classes": ("cat", "dog"), "category_ids": (7, 9)}
    read = {"size": (40, 60), "path": None, "_pixels": lambda: PIXELS}
    return Result(boxes, torch.tensor([0.9, 0.5]), torch.tensor([1, 0]), **kinds, **read)


def test_it_says_what_was_found(result):
    assert result.names == ["dog", "cat"]
    assert repr(result) == "Result(2 detections in 60 x 40: dog 0.90, cat 0.50)"


def test_coco_has_the_annotations_ids_and_widths(result):
    first, second = result.to_coco(image_id=3)
    assert first == {"image_id": 3, "category_id": 9, "bbox": [5, 6, 20, 30], "score": pytest.approx(0.9)}
    assert second["category_id"] == 7


def test_supervision_gets_arrays_and_names(result, monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", SimpleNamespace(Detections=SimpleNamespace))
    found = result.to_supervision()
    assert np.array_equal(found.xyxy, result.boxes.numpy())
    assert found.class_id.tolist() == [1, 0]
    assert found.confidence == pytest.approx([0.9, 0.5])
    assert found.data["class_name"].tolist() == ["dog", "cat"]


def test_a_missing_supervision_is_one_sentence(result, monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(ModuleNotFoundError, match="supervision is not installed: pip install supervision"):
        result.to_supervision()


def test_a_picture_is_drawn_and_written(result, tmp_path):
    drawn = result.plot()
    assert drawn.size == (660, 440)  # a small picture enlarged
    assert len(drawn.getcolors(2**16)) > 2  # the ground, boxes and letters
    path = result.save(tmp_path / "found.png")
    assert np.array_equal(np.asarray(Image.open(path)), np.asarray(drawn))
    with pytest.raises(ValueError, match=r"found\.xyz: expected a name that ends in \.png"):
        result.save(tmp_path / "found.xyz")
    assert [each.name for each in tmp_path.iterdir()] == ["found.png"]

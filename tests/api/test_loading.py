"""load and predict."""

import numpy as np
import pytest
import torch
from PIL import Image

import detassign

EVERYTHING = {"score": 0.0, "limit": 4}


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (60, 96, 3), dtype=np.uint8)


def same(found, expected):
    return torch.equal(found.boxes, expected.boxes) and torch.equal(found.scores, expected.scores)


def test_a_run_knows_its_classes_and_checkpoint(model, tiny_run):
    assert model.names == tuple(model.config["data"]["classes"])
    assert model.checkpoint.parent == tiny_run
    one = detassign.load(str(tiny_run / "epoch_1.pth"), device="cpu")
    assert one.checkpoint == tiny_run / "epoch_1.pth"


def test_what_is_no_run_is_one_sentence(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"run folder .*none does not exist"):
        detassign.load(tmp_path / "none")


def test_one_picture_gives_a_result_and_several_a_list(model, pixels):
    one, (first, second) = model.predict(pixels, **EVERYTHING), model.predict([pixels, pixels[:50]], **EVERYTHING)
    assert same(one, first)
    assert (one.size, second.size) == ((60, 96), (50, 96))
    assert len(one) == 4
    assert one.boxes.shape == (4, 4)
    assert one.names == [model.names[label] for label in one.labels]
    assert (one.scores[:-1] >= one.scores[1:]).all()
    assert model.predict([], **EVERYTHING) == []


def test_every_kind_of_picture_gives_the_same(model, pixels, tmp_path):
    Image.fromarray(pixels).save(tmp_path / "one.png")
    of_bytes = torch.from_numpy(pixels).permute(2, 0, 1)
    kinds = [str(tmp_path / "one.png"), tmp_path / "one.png", Image.fromarray(pixels), of_bytes, of_bytes / 255]
    expected = model.predict(pixels, **EVERYTHING)
    results = model.predict(kinds, batch=1, **EVERYTHING)
    assert all(same(found, expected) for found in results)
    assert all(np.array_equal(found.image, pixels) for found in results)
    assert [found.path for found in results] == [tmp_path / "one.png", tmp_path / "one.png", None, None, None]


def test_pictures_are_turned_as_their_exif_says(model, pixels, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as opened:
        ours, theirs = model.predict([opened, tmp_path / "turned.png"], **EVERYTHING)
    assert ours.size == theirs.size == (96, 60)
    assert same(ours, theirs)


def test_pil_images_of_16_bits_are_what_their_files_are(model, pixels, tmp_path):
    grey = pixels[..., 0].astype(np.uint16) * 257
    Image.fromarray(grey).save(tmp_path / "deep.png")
    with Image.open(tmp_path / "deep.png") as opened:
        ours, theirs = model.predict([opened, tmp_path / "deep.png"], **EVERYTHING)
    assert np.array_equal(ours.image, theirs.image)
    assert np.array_equal(ours.image[..., 1], pixels[..., 0])
    with pytest.raises(ValueError, match="image 0: expected a PIL image of 8 or 16 bits, got mode F"):
        model.predict(Image.new("F", (8, 8)))


def test_red_is_not_blue(model, pixels):
    assert not same(model.predict(pixels, **EVERYTHING), model.predict(pixels[..., ::-1], **EVERYTHING))


@pytest.mark.parametrize(
    ("picture", "sentence"),
    [
        (np.zeros((4, 5), np.uint8), r"image 0: expected an array \(H, W, 3\) of uint8, RGB, got \(4, 5\)"),
        (np.zeros((4, 5, 3)), "image 0: expected .* of float64"),
        (torch.zeros(4, 5, 3), r"image 0: expected a tensor \(3, H, W\)"),
        (torch.full((3, 4, 5), 255.0), "image 0: expected floats from 0 to 1, got 255 to 255"),
        (torch.zeros(3, 4, 5, dtype=torch.int64), "image 0: expected a tensor"),
        ([3], "image 0: expected an array .* or a file's path, got int"),
        (3, "images: expected .* or a list of these, got int"),
        ("nowhere.png", "nowhere.png: does not exist"),
        (".", ".: expected an image file"),
    ],
    ids=["grey", "floats", "last", "bytes as floats", "integers", "a number", "no list", "no file", "a folder"],
)
def test_what_is_no_picture_is_named(model, picture, sentence):
    with pytest.raises(ValueError, match=sentence):
        model.predict(picture)

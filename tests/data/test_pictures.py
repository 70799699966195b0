"""Pictures against what is listed of them: sizes, orientations, damage."""

import io
import json
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from detassign.data import check
from detassign.data.pictures import LARGE, read_pictures

TURNED = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "TIFF": "tif", "MPO": "jpg"}  # formats in which OpenCV does


def photograph(path, form, orientation=None, size=(40, 30), **options):
    """An image file of noise, `size` as stored."""
    if orientation:
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = orientation
    noise = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, form, **options)
    return path


def read_picture(path, decode=False):
    return read_pictures([path], decode)[0]


def loaded(path):
    """Height and width as training gets them."""
    return cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR).shape[:2]


def first_image(folder):
    return folder / "images" / json.loads((folder / "train.json").read_text())["images"][0]["file_name"]


def warnings_of(folder, **options):
    report = check(folder, **options)
    assert not report.errors
    return [(found.code, found.sentence) for found in report.warnings]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", TURNED)
def test_a_picture_is_as_large_as_the_loader_makes_it(tmp_path, form, orientation):
    path = photograph(tmp_path / f"a.{TURNED[form]}", form, orientation)
    height, width = loaded(path)
    for decode in (False, True):
        picture = read_picture(path, decode)
        assert picture.size == (width, height) == ((40, 30) if orientation < 5 else (30, 40))
        assert picture.turned == (orientation > 1)
        assert picture.hides_its_turn == (1 < orientation < 5)


@pytest.mark.parametrize("form", ["AVIF", "JPEG2000", "GIF", "BMP"])
def test_formats_that_the_loader_does_not_turn_are_as_stored(tmp_path, form):
    picture = read_picture(photograph(tmp_path / "a", form, 6))
    assert picture == ((40, 30), False, False)
    assert loaded(tmp_path / "a") == (30, 40)


@pytest.mark.parametrize("orientation", [2, 3, 4])
@pytest.mark.parametrize("form", TURNED)
def test_mirrored_pictures_are_named_though_their_size_is_right(sound_set, form, orientation):
    photograph(first_image(sound_set), form, orientation)
    ((code, sentence),) = warnings_of(sound_set)
    assert code == "exif-orientation"
    assert "turned or mirrored as their EXIF says" in sentence


@pytest.mark.parametrize("form", TURNED)
def test_exif_is_named_where_it_is_the_reason(sound_set, form):
    photograph(first_image(sound_set), form, 6)
    ((code, sentence),) = warnings_of(sound_set)
    assert code == "image-size"
    assert "EXIF" in sentence
    photograph(first_image(sound_set), form, 6, size=(30, 40))
    assert warnings_of(sound_set) == []


@pytest.mark.parametrize("orientation", [None, 1, 6])
def test_exif_is_not_named_where_it_is_not_the_reason(sound_set, orientation):
    photograph(first_image(sound_set), "JPEG", orientation, size=(80, 60))
    ((code, sentence),) = warnings_of(sound_set)
    assert code == "image-size"
    assert "EXIF" not in sentence


@pytest.mark.parametrize("orientation", [9, 65535])
@pytest.mark.parametrize("form", TURNED)
def test_orientations_that_do_not_exist_are_none(sound_set, form, orientation):
    photograph(first_image(sound_set), form, orientation)
    assert warnings_of(sound_set) == []


def test_exif_behind_the_pixels_of_a_png_counts(sound_set):
    written, exif = io.BytesIO(), Image.Exif()
    Image.new("RGB", (40, 30)).save(written, "PNG")
    exif[0x0112] = 6
    body = b"eXIf" + exif.tobytes()[6:]
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    content = written.getvalue()
    end = content.index(b"IEND") - 4
    first_image(sound_set).write_bytes(content[:end] + chunk + content[end:])
    assert loaded(first_image(sound_set)) == (40, 30)
    assert [code for code, _ in warnings_of(sound_set)] == ["image-size"]


def test_a_large_photograph_is_seen_through_at_an_eighth(tmp_path):
    size = (1201, 1001)
    assert size[0] * size[1] > LARGE
    for orientation, expected in ((1, size), (3, size), (6, size[::-1])):
        path = photograph(tmp_path / "a.jpg", "JPEG", orientation, size)
        assert read_picture(path) == read_picture(path, decode=True) == (expected, orientation > 1, orientation == 6)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "BMP"])
def test_a_truncated_picture_is_found_when_it_is_decoded(sound_set, form):
    path = photograph(first_image(sound_set), form)
    path.write_bytes(path.read_bytes()[:-20])
    (error,) = check(sound_set, decode=True).errors
    assert (error.code, error.where, error.examples) == ("unreadable-image", "train.json", ("'1.png'",))
    assert "cannot be decoded" in str(error)


def test_decoding_looks_at_every_picture_and_counts(sound_set):
    seen = []
    assert check(sound_set, headers=0, decode=True, progress=lambda *count: seen.append(count)).findings == ()
    assert seen == [(2, 2), (2, 2)]


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n" + b"\0" * 64, b"II*\0" + b"\xff" * 64])
def test_junk_is_no_picture(tmp_path, content):
    (tmp_path / "junk").write_bytes(content)
    assert read_picture(tmp_path / "junk") is None
    assert read_picture(tmp_path / "junk", decode=True) is None

"""One reader: whatever a file's encoding and small gaps, the same columns; what cannot be meant is refused."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from detassign.data import check, make_subset, resolve
from detassign.data.forms import coco
from detassign.data.reader import load_split, read_annotations


def columns(table):
    """What is learnt and measured, as plain values."""
    return table.document()


def rewrite(path, encoding):
    """The same document, letters unescaped, in another encoding."""
    path.write_bytes(json.dumps(json.loads(path.read_bytes()), ensure_ascii=False).encode(encoding))


def in_the_past(path):
    os.utime(path, (1e9, 1e9))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_files_encoding_changes_nothing(sound_set, edit, encoding):
    for split in ("train", "val"):
        edit(lambda document: document["categories"][0].update(name="红细胞"), split)
    plain = columns(load_split(resolve(sound_set), "train"))
    for split in ("train", "val"):
        rewrite(sound_set / f"{split}.json", encoding)
    source = resolve(sound_set)
    assert source.classes == ("红细胞", "dog")
    assert columns(load_split(source, "train")) == plain
    assert check(sound_set).findings == ()
    assert make_subset(source, sound_set.parent / "few", 2) == 3


def test_the_locale_changes_nothing(sound_set, edit):
    """Neither for what is read nor for files that it names."""
    for split in ("train", "val"):
        edit(lambda document: document["categories"][0].update(name="红细胞"), split)
        image = json.loads((sound_set / f"{split}.json").read_text())["images"][0]["file_name"]
        (sound_set / "images" / image).rename(sound_set / "images" / f"图{image}")
        edit(lambda document: document["images"][0].update(file_name="图" + document["images"][0]["file_name"]), split)
        rewrite(sound_set / f"{split}.json", "utf-8")
    code = (
        "import sys, locale; from detassign.data import check, make_subset, resolve; source = resolve(sys.argv[1]); "
        "assert not check(source).findings; assert make_subset(source, sys.argv[2], 2) == 3; "
        "print(locale.getpreferredencoding(), ascii(source.classes[0]))"
    )
    words = [sys.executable, "-c", code, str(sound_set), str(sound_set.parent / "few")]
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(words, capture_output=True, check=True, env={**os.environ, **plain})
    encoding, name = done.stdout.decode().split()
    assert encoding.lower() not in ("utf-8", "utf8")
    assert name == ascii("红细胞")
    assert check(sound_set.parent / "few").errors == ()


def test_bytes_that_are_no_text_are_named_with_their_file(sound_set):
    (sound_set / "train.json").write_bytes('{"categories": "红"}'.encode("gbk"))
    with pytest.raises(ValueError, match=r"train\.json is no JSON: byte 16 is not utf-8 text"):
        resolve(sound_set)


@pytest.mark.parametrize(
    "change",
    [
        {"id": 0},
        {"id": None},
        {"id": 2},
        {"id": "first"},
        {"iscrowd": None},
        {"iscrowd": False},
        {"iscrowd": 0.0},
        {"ignore": 0},
        {"ignore": None},
        {"ignore": float("nan")},
        {"iscrowd": float("nan")},
        {"id": float("nan")},
        {"image_id": 1.0, "category_id": 1.0},
    ],
    ids=str,
)
def test_what_means_nothing_or_is_plain_changes_nothing(sound_set, edit, change):
    before = columns(load_split(resolve(sound_set), "train"))
    edit(lambda document: document["annotations"][0].update(change))
    source = resolve(sound_set)
    assert columns(load_split(source, "train")) == before
    assert not check(sound_set).errors


@pytest.mark.parametrize("area", [0, 0.0, None, -4, float("nan"), float("inf"), "missing"])
def test_an_absent_area_is_width_times_height(sound_set, edit, area):
    edit(lambda d: d["annotations"][2].pop("area") if area == "missing" else d["annotations"][2].update(area=area))
    assert load_split(resolve(sound_set), "train").areas.tolist() == [80, 80, 1200]


def test_annotations_are_numbered_from_one(sound_set, edit):
    edit(lambda document: [a.pop("id") for a in document["annotations"]])
    assert load_split(resolve(sound_set), "train").ids.tolist() == [1, 2, 3]
    (remark,) = check(sound_set).remarks
    assert str(remark).startswith("train.json: annotation ids are missing, 0 or repeated")
    assert remark.examples == ("annotations[0]", "annotations[1]", "annotations[2]")


@pytest.mark.parametrize("key", ["iscrowd", "ignore"])
def test_crowds_and_ignored_objects_are_the_same(sound_set, edit, key):
    edit(lambda document: document["annotations"][1].update({key: 1}))
    assert load_split(resolve(sound_set), "train").crowd.tolist() == [False, True, False]
    (remark,) = check(sound_set).remarks
    assert (remark.code, remark.count, remark.examples) == ("crowd-regions", 1, ("annotation 2",))


BOXES = {
    "as it is": ([6, 3, 10, 8], [6, 3, 10, 8]),
    "whole image": ([0, 0, 40, 30], [0, 0, 40, 30]),
    "rounding stays": ([30.2, 3, 10.2, 8], [30.2, 3, 10.2, 8]),
    "right": ([35, 3, 10, 8], [35, 3, 5, 8]),
    "left and top": ([-4, -2, 10, 8], [0, 0, 6, 6]),
    "all around": ([-40, -30, 200, 200], [0, 0, 40, 30]),
    "one pixel": ([39, 29, 1, 1], [39, 29, 1, 1]),
    "thin": ([6, 3, 0.9, 8], None),
    "thin inside": ([39.5, 3, 10, 8], None),
    "no width": ([6, 3, 0, 8], None),
    "inverted": ([16, 11, -10, -8], None),
    "outside": ([60, 3, 10, 8], None),
    "touching": ([40, 3, 10, 8], None),
}


@pytest.mark.parametrize(("box", "expected"), BOXES.values(), ids=BOXES)
def test_a_box_is_what_of_it_lies_in_the_image_or_left_out(sound_set, edit, box, expected):
    edit(lambda document: document["annotations"][1].update(bbox=box, area=80))
    table = load_split(resolve(sound_set), "train")
    others = [[2, 3, 10, 8], [0, 0, 40, 30]]
    kept = [others[0], expected, others[1]] if expected else others
    np.testing.assert_allclose(table.boxes, kept)
    assert (table.areas <= np.maximum(table.boxes[:, 2] * table.boxes[:, 3], 99)).all()
    warned = [found for found in check(sound_set).warnings if found.where == "train.json"]
    assert [found.count for found in warned] == ([] if expected == box else [1])


def test_the_area_of_a_cut_box_is_at_most_what_is_left(sound_set, edit):
    edit(lambda document: document["annotations"][1].update(bbox=[35, 3, 10, 8], area=80))
    assert load_split(resolve(sound_set), "train").areas.tolist() == [80, 40, 99]


def test_a_file_is_parsed_once_for_all(sound_set, monkeypatch):
    parsed, parse = [], coco.read_json
    monkeypatch.setattr(coco, "read_json", lambda path: parsed.append(path.name) or parse(path))
    for split in ("train", "val"):
        in_the_past(sound_set / f"{split}.json")
    source = resolve(sound_set)
    for _ in range(2):
        check(source)
        load_split(source, "train")
        load_split(source, "val")
    assert parsed == ["train.json", "val.json"]


def test_a_changed_file_is_read_again(sound_set, edit):
    source = resolve(sound_set)
    for width in (8, 9):  # the same number of bytes
        edit(lambda document, width=width: document["annotations"][0].update(bbox=[2, 3, width, 8]))
        assert load_split(source, "train").boxes[0, 2] == width
    in_the_past(sound_set / "train.json")
    assert load_split(source, "train").boxes[0, 2] == 9
    edit(lambda document: document["annotations"][0].update(bbox=[2, 3, 7, 8]))
    assert load_split(source, "train").boxes[0, 2] == 7


def test_a_file_is_named_as_it_was_given(sound_set, monkeypatch):
    (sound_set / "train.json").write_text("[")
    in_the_past(sound_set / "train.json")
    monkeypatch.chdir(sound_set.parent)
    (error,) = check("sound").errors
    assert str(error) == "train.json: sound/train.json is no JSON: Expecting value in line 1, column 2"


def test_faults_are_refused_in_the_words_of_the_check(sound_set, edit):
    edit(lambda document: document["annotations"][0].update(bbox=[]))
    (error,) = check(sound_set).errors
    with pytest.raises(ValueError, match="must be a list of four numbers") as refused:
        load_split(resolve(sound_set), "train")
    assert str(refused.value) == f"data: {error}; see 'detassign data check'"


def test_categories_that_changed_since_are_refused(sound_set, edit):
    source = resolve(sound_set)
    edit(lambda document: document["categories"].reverse() or document["categories"][0].update(name="wolf"), "val")
    with pytest.raises(ValueError, match=r"categories of .*val\.json are no longer"):
        load_split(source, "val")


def test_nothing_but_numbers_is_kept_of_large_files(sound_set, edit):
    """Segmentations, attributes and the like are forgotten."""
    edit(lambda document: [a.update(segmentation=[[0.5] * 10_000]) for a in document["annotations"]])
    table = read_annotations(sound_set / "train.json").table
    assert sum(value.nbytes for value in vars(table).values() if isinstance(value, np.ndarray)) < 1000


def outcome(source):
    """What is read of the training split, and the sentence that refuses it."""
    try:
        return load_split(source, "train"), None
    except ValueError as error:
        return None, str(error)


ODD = [
    None, True, -1, 0, 1, 2, 1.0, 1.5, 10**30, 2**53, 1e308, float("nan"), float("inf"), -float("inf"), "", "1", "\ud800",
    "../1.png", "a\0", [], [1], [1, 2, 3, 4], [[1, 2, 3, 4]], [1, 2, 3, None], [1, 2, 1e308, 1e308], [1e9, 1, 1, 1],
    [-1e300, 0, 1e300, 5], [True] * 4, {}, {"id": 1}, {"a": [1]},
]  # fmt: skip
PLACES = [
    *[("images", key) for key in ("id", "file_name", "width", "height")],
    *[("annotations", key) for key in ("id", "image_id", "category_id", "bbox", "area", "iscrowd", "ignore")],
    *[("categories", key) for key in ("id", "name")],
    *[(section, None) for section in ("images", "annotations", "categories")],
]


@pytest.mark.parametrize(("section", "key"), PLACES, ids=str)
@pytest.mark.parametrize("everywhere", [False, True])
def test_any_value_anywhere_is_sound_or_refused_in_the_words_of_the_check(sound_set, section, key, everywhere):
    source, plain = resolve(sound_set), (sound_set / "train.json").read_text()
    for value in ODD:
        document = json.loads(plain)
        entries = document[section]
        for index in range(len(entries) if everywhere else 1):
            entries[index] = value if key is None else {**entries[index], key: value}
        (sound_set / "train.json").write_text(json.dumps(document))
        report = check(source)
        json.dumps(report.to_dict(), allow_nan=False)
        table, refusal = outcome(source)
        if refusal:
            assert section == "categories" or refusal == f"data: {report.errors[0]}; see 'detassign data check'"
        else:
            assert {found.code for found in report.errors} <= {"missing-image", "unreadable-image"}
            json.dumps(columns(table), allow_nan=False)
            assert (table.boxes[:, 2:] >= 1).all()
            sizes = table.image_sizes[table.owners]
            assert ((table.boxes[:, :2] >= -0.5) & (table.boxes[:, :2] + table.boxes[:, 2:] <= sizes + 0.5)).all()
            assert np.isfinite(table.areas).all()
            assert (table.areas > 0).all()
            assert table.objects.any()

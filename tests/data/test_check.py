"""Each fault is planted alone in a sound set and must be found under its own name."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detassign.data import check, resolve

REAL_SETS = Path(os.environ.get("DETASSIGN_DATA", Path(__file__).parents[3] / "shared" / "data"))


def annotation(**changes):
    return lambda document: document["annotations"][0].update(changes)


def image(**changes):
    return lambda document: document["images"][0].update(changes)


def without(section, key):
    return lambda document: document[section][0].pop(key)


def corners(document):
    for entry in document["annotations"]:
        x, y, width, height = entry["bbox"]
        entry["bbox"] = [x + 20, y + 10, x + 20 + min(width, 10), y + 10 + min(height, 8)]


def many(document):
    document["annotations"] = [
        document["annotations"][0] | {"id": i, "bbox": [i % 30, i / 9, 5, 5]} for i in range(1, 102)
    ]


FAULTS = [
    (lambda d: d.pop("images"), "error", "missing-key"),
    (lambda d: d.pop("annotations"), "error", "missing-key"),
    (lambda d: d.pop("categories"), "error", "bad-categories"),
    (lambda d: d.update(images={}), "error", "wrong-value"),
    (lambda d: d.update(images=[]), "error", "no-images"),
    (lambda d: d.update(annotations=[]), "error", "no-annotations"),
    (lambda d: d["annotations"].append(7), "error", "wrong-value"),
    (lambda d: [a.update(iscrowd=1) for a in d["annotations"]], "error", "only-crowd-regions"),
    (lambda d: [a.update(ignore=1) for a in d["annotations"]], "error", "only-crowd-regions"),
    (lambda d: [a.update(bbox=[0.1, 0.2, 0.3, 0.4]) for a in d["annotations"]], "error", "no-annotations"),
    *[(without("images", key), "error", "missing-key") for key in ("id", "file_name", "width", "height")],
    *[(without("annotations", key), "error", "missing-key") for key in ("image_id", "category_id", "bbox")],
    (without("annotations", "id"), "info", "annotation-ids"),
    (without("annotations", "area"), "info", "no-area"),
    (without("annotations", "iscrowd"), "info", "no-iscrowd"),
    (image(id="one"), "error", "wrong-value"),
    (image(id=10**30), "error", "wrong-value"),
    (image(width=0), "error", "wrong-value"),
    (image(file_name=7), "error", "wrong-value"),
    (annotation(id=True), "info", "annotation-ids"),
    (annotation(id="one"), "info", "annotation-ids"),
    (annotation(id=None), "info", "annotation-ids"),
    (annotation(bbox=[1, 2, 3]), "error", "wrong-value"),
    (annotation(bbox=[1, 2, 3, "4"]), "error", "wrong-value"),
    (annotation(bbox=[1, 2, 3, 10**400]), "error", "wrong-value"),
    (annotation(bbox=[]), "error", "wrong-value"),
    (annotation(bbox=None), "error", "wrong-value"),
    (annotation(bbox="1 2 3 4"), "error", "wrong-value"),
    (annotation(iscrowd="no"), "error", "wrong-value"),
    (annotation(iscrowd="0"), "error", "wrong-value"),
    (annotation(iscrowd=2), "error", "wrong-value"),
    (annotation(iscrowd=None), "info", "no-iscrowd"),
    (annotation(iscrowd=float("nan")), "info", "no-iscrowd"),
    (annotation(id=float("nan")), "info", "annotation-ids"),
    (corners, "warning", "corner-boxes"),
    (annotation(ignore="no"), "error", "wrong-value"),
    (annotation(ignore=1), "info", "crowd-regions"),
    (annotation(ignore=True), "info", "crowd-regions"),
    (annotation(area="80"), "error", "wrong-value"),
    (annotation(category_id="1"), "error", "wrong-value"),
    (annotation(category_id=1.5), "error", "wrong-value"),
    (image(id=2), "error", "duplicate-image-id"),
    (annotation(id=2), "info", "annotation-ids"),
    (annotation(id=0), "info", "annotation-ids"),
    (annotation(image_id=99), "error", "unknown-image"),
    (annotation(category_id=3), "error", "unknown-category"),
    (annotation(category_id=0), "error", "unknown-category"),
    (annotation(category_id=-1), "error", "unknown-category"),
    (annotation(bbox=[float("nan"), 2, 3, 4]), "error", "non-finite-box"),
    (annotation(bbox=[1, 2, float("inf"), 4]), "error", "non-finite-box"),
    (annotation(bbox=[1.7e308, 2, 1.7e308, 4]), "error", "non-finite-box"),
    (annotation(area=float("nan")), "info", "no-area"),
    (annotation(area=float("inf")), "info", "no-area"),
    (annotation(area=None), "info", "no-area"),
    (annotation(area=-3), "info", "no-area"),
    (annotation(bbox=[1, 2, 0, 4]), "warning", "empty-box"),
    (annotation(bbox=[1, 2, 5, -4]), "warning", "empty-box"),
    (annotation(area=0), "info", "no-area"),
    (annotation(bbox=[1, 2, 5, 0.5]), "warning", "thin-box"),
    (annotation(bbox=[50, 2, 5, 5]), "warning", "box-beyond-image"),
    (annotation(bbox=[-9, 2, 5, 5]), "warning", "box-beyond-image"),
    (annotation(bbox=[39.3, 2, 5, 5]), "warning", "thin-box"),
    (annotation(bbox=[38, 2, 5, 5]), "warning", "box-crosses-border"),
    (annotation(bbox=[3, -2, 5, 5]), "warning", "box-crosses-border"),
    (annotation(bbox=[6, 3, 10, 8], category_id=2), "warning", "doubled-box"),
    (image(file_name="../1.png"), "error", "unsafe-file-name"),
    (image(file_name="a/../../1.png"), "error", "unsafe-file-name"),
    (image(file_name="/etc/passwd"), "error", "unsafe-file-name"),
    (image(file_name="..\\1.png"), "error", "unsafe-file-name"),
    (image(file_name="C:\\1.png"), "error", "unsafe-file-name"),
    (image(file_name="1\0.png"), "error", "unsafe-file-name"),
    (image(file_name="2.png"), "warning", "repeated-file"),
    (image(file_name="none.png"), "error", "missing-image"),
    (image(width=41), "warning", "image-size"),
    (image(file_name="3.png"), "warning", "shared-images"),
    (lambda d: d["categories"].append({"id": 3, "name": "cow"}), "error", "different-categories"),
    (lambda d: d["categories"].append({"id": 3, "name": "cow"}), "info", "class-without-boxes"),
    (lambda d: d["categories"].append({"id": 90, "name": "cow"}), "info", "category-id-gaps"),
    (lambda d: d["categories"].reverse(), "info", "category-order"),
    (annotation(iscrowd=1), "info", "crowd-regions"),
    (many, "info", "many-objects"),
]


def named(report):
    return {(found.severity, found.code) for found in report.findings}


def test_sound_set_has_no_finding(sound_set):
    assert check(sound_set).findings == ()


@pytest.mark.parametrize(("mutate", "severity", "code"), FAULTS, ids=[f"{i}-{f[2]}" for i, f in enumerate(FAULTS)])
def test_fault_is_found_by_name_and_the_report_can_be_written(sound_set, edit, mutate, severity, code):
    edit(mutate)
    report = check(sound_set)
    assert (severity, code) in named(report)
    assert all(str(found).startswith(("train.json: ", "val.json: ")) for found in report.findings)
    json.dumps(report.to_dict(), allow_nan=False)


@pytest.mark.parametrize(("mutate", "severity", "code"), FAULTS, ids=[f"{i}-{f[2]}" for i, f in enumerate(FAULTS)])
def test_fault_in_train_is_no_error_in_val(sound_set, edit, mutate, severity, code):
    edit(mutate)
    blamed = [found.code for found in check(sound_set).errors if found.where == "val.json"]
    assert blamed in ([], ["different-categories"])


def test_a_photograph_is_as_large_as_its_orientation_makes_it(sound_set):
    """Loaders turn it, so boxes drawn on the unturned picture would be misplaced."""
    listed = json.loads((sound_set / "train.json").read_text())["images"][0]
    file = sound_set / "images" / listed["file_name"]
    turned = Image.Exif()
    turned[0x0112] = 6
    width, height = listed["width"], listed["height"]
    Image.new("RGB", (height, width)).save(file, "JPEG", exif=turned)
    assert check(sound_set).findings == ()
    Image.new("RGB", (width, height)).save(file, "JPEG", exif=turned)
    assert named(check(sound_set)) == {("warning", "image-size")}


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0II", b"Exif\0\0garbage that is no TIFF", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"]
)
def test_a_photograph_with_broken_exif_data_is_taken_as_it_is(sound_set, exif):
    listed = json.loads((sound_set / "train.json").read_text())["images"][0]
    picture = Image.new("RGB", (listed["width"], listed["height"]))
    picture.save(sound_set / "images" / listed["file_name"], "JPEG", exif=exif, dpi=(72, 72))
    assert check(sound_set).findings == ()


def test_missing_folder_is_one_error(tmp_path):
    assert named(check(tmp_path / "none")) == {("error", "missing-file")}


def test_missing_split_is_an_error(sound_set):
    (sound_set / "val.json").unlink()
    assert named(check(sound_set)) == {("error", "missing-split")}


def test_wrong_json_is_an_error_with_line_and_column(sound_set):
    (sound_set / "train.json").write_text('{"images": [\n1,,]}')
    (error,) = check(sound_set).errors
    assert error.code == "unreadable-file"
    assert "line 2, column 3" in str(error)


def test_oversize_json_is_an_error(sound_set):
    assert named(check(sound_set, largest=10)) == {("error", "unreadable-file")}


def test_missing_folder_of_images_is_an_error(sound_set):
    (sound_set / "images").rename(sound_set / "pictures")
    assert named(check(sound_set)) == {("error", "missing-folder")}


def test_unreadable_image_is_an_error_unless_headers_are_not_read(sound_set):
    (sound_set / "images" / "1.png").write_text("no picture")
    assert named(check(sound_set)) == {("error", "unreadable-image")}
    assert named(check(sound_set, headers=0)) == set()


def test_absurdly_large_image_is_unreadable(sound_set, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    assert named(check(sound_set)) == {("error", "unreadable-image")}


def test_a_large_aerial_image_is_readable(sound_set, monkeypatch):
    """Pillow warns of it, and the loader takes it."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert check(sound_set, decode=True).findings == ()


def test_names_from_windows_are_named_as_such(sound_set, edit):
    edit(image(file_name="more\\1.png"))
    (error,) = check(sound_set).errors
    assert "a backslash in a name separates folders on Windows alone" in str(error)


def test_headers_are_read_evenly_and_no_more_than_asked(sound_set, monkeypatch):
    opened, original = [], Image.open
    monkeypatch.setattr(Image, "open", lambda path: opened.append(path.name) or original(path))
    check(sound_set / "train.json", headers=1)
    assert opened == ["1.png"]


def test_single_annotation_file_is_checked_alone(sound_set):
    assert list(check(sound_set / "val.json").statistics) == ["val"]


def test_resolved_source_is_checked_like_its_folder(sound_set):
    assert check(resolve(sound_set)) == check(sound_set)


def test_examples_are_few_and_the_count_complete(sound_set, edit):
    edit(lambda d: [a.update(category_id=9) for a in d["annotations"]] + [d["annotations"].append(d["annotations"][0])])
    (found,) = [f for f in check(sound_set).errors if f.code == "unknown-category"]
    assert found.count == 4
    assert found.examples == ("annotation 1", "annotation 2", "annotation 3")
    assert "(4, such as annotation 1, annotation 2, annotation 3)" in str(found)


def test_negative_number_of_headers_is_refused(sound_set):
    with pytest.raises(ValueError, match="headers must be a whole number"):
        check(sound_set, headers=-1)


def test_numbers_of_the_set_are_reported(sound_set):
    statistics = check(sound_set).statistics["train"]
    assert (statistics["images"], statistics["boxes"], statistics["most_boxes_in_an_image"]) == (2, 3, 2)
    assert statistics["classes"] == {"cat": 1, "dog": 2}
    assert statistics["boxes_per_image"] == 1.5


@pytest.mark.parametrize(
    ("name", "boxes", "classes", "overlapping"),
    [
        ("bccd", 2799, 3, 0.768),
        ("nuclei", 17448, 1, 0.394),
        ("aquarium", 2921, 7, 0.424),
        ("coco_permissive", 692, 80, 0.798),
        ("coco_people", 1148, 1, 0.543),
    ],
)
def test_real_set_is_sound_and_has_its_published_numbers(name, boxes, classes, overlapping):
    if not (REAL_SETS / name).is_dir():
        pytest.skip(f"the real data set {name} is not in {REAL_SETS} (set DETASSIGN_DATA)")
    report = check(REAL_SETS / name, headers=20)
    assert report.errors == report.warnings == ()
    statistics = report.statistics["train"]
    assert (statistics["boxes"], len(statistics["classes"])) == (boxes, classes)
    assert np.isclose(statistics["overlap_share"]["0"], overlapping, atol=5e-4)

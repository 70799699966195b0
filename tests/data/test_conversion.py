"""data convert and data split: boxes come back as they were, every class gets its share, what belongs together stays so."""

import json
import shutil

import cv2
import numpy as np
import pytest
from support.command import run

from detassign.data import check, make_subset, resolve
from detassign.data.division import divide, divided, groups_of
from detassign.data.forms import FORMS, find
from detassign.data.parts import part_of, together, write_parts
from detassign.data.reader import load_split


def make_set(root, count=6, decimals=2, crowd=False, folder=""):
    """train and val of pictures in an order that is not their names', of odd sizes and odd boxes."""
    rng, classes = np.random.default_rng(0), ["zebra", "ant", "Bär 2"]
    for split in ("train", "val"):
        images, annotations = [], []
        for number in range(count, 0, -1):
            width, height = int(rng.integers(31, 60)), int(rng.integers(31, 60))
            name = f"{folder}{split}{number}.png"
            (root / "images" / name).parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(root / "images" / name), rng.integers(0, 255, (height, width, 3), dtype=np.uint8))
            images.append({"id": len(images) + 1, "file_name": name, "width": width, "height": height, "licence": 3})
            for label in range(1, 4):
                corner, side = rng.uniform(0, 12, 2).round(decimals), rng.uniform(2, 18, 2).round(decimals)
                box = [*corner.tolist(), *side.tolist()]
                annotations.append({"id": len(annotations) + 1, "image_id": len(images), "category_id": label, "bbox": box,
                                    "area": box[2] * box[3], "iscrowd": int(crowd and label == 2)})  # fmt: skip
        categories = [{"id": number, "name": name} for number, name in enumerate(classes, 1)]
        content = {"info": {"year": 2026}, "images": images, "annotations": annotations, "categories": categories}
        (root / f"{split}.json").write_text(json.dumps(content))
    return root


def columns(root):
    source = resolve(root)
    found = {"classes": source.classes, "ids": source.category_ids}
    for split in source.splits:
        table = load_split(source, split)
        found[split] = [
            [array.tolist() for array in (table.image_ids, table.image_sizes, table.owners, table.labels, table.crowd)],
            table.boxes.tolist(),
        ]
    return found


def convert(source, form, target):
    parts = {split: part_of(place) for split, place in find(source).items()}
    return write_parts(parts, form, target)


@pytest.mark.parametrize("decimals", [0, 2, 6])
@pytest.mark.parametrize("form", FORMS)
def test_every_column_comes_back_as_it_was_to_the_last_digit(form, decimals, tmp_path):
    root = make_set(tmp_path / "set", decimals=decimals)
    assert convert(root, form, tmp_path / "there").lost == []
    assert next(iter(find(tmp_path / "there").values())).form == form
    assert columns(tmp_path / "there") == columns(root)
    convert(tmp_path / "there", "coco", tmp_path / "back")
    assert columns(tmp_path / "back") == columns(root)
    assert not check(tmp_path / "back", decode=True).errors
    assert not check(tmp_path / "there", decode=True).warnings


def test_pictures_are_the_same_files_in_the_same_order(tmp_path):
    root = make_set(tmp_path / "set")
    for form in FORMS:
        convert(root, form, tmp_path / form)
        place = resolve(tmp_path / form).place("val")
        copies = [place.images / name for name in load_split(resolve(tmp_path / form), "val").file_names]
        originals = [root / "images" / name for name in load_split(resolve(root), "val").file_names]
        assert [file.read_bytes() for file in copies] == [file.read_bytes() for file in originals]


def test_yolo_names_folders_where_the_order_is_that_of_names_and_lists_where_it_is_not(tmp_path):
    root = make_set(tmp_path / "set")
    convert(root, "yolo", tmp_path / "listed")
    assert "train: train.txt" in (tmp_path / "listed" / "data.yaml").read_text()
    for split in ("train", "val"):
        content = json.loads((root / f"{split}.json").read_text())
        content["images"].reverse()
        (root / f"{split}.json").write_text(json.dumps(content))
    convert(root, "yolo", tmp_path / "plain")
    assert "train: images/train" in (tmp_path / "plain" / "data.yaml").read_text()
    assert not (tmp_path / "plain" / "train.txt").exists()


def test_whole_boxes_are_written_as_vocs_pixels_and_others_as_coordinates(tmp_path):
    convert(make_set(tmp_path / "whole", decimals=0), "voc", tmp_path / "pixels")
    x, _, width, _ = json.loads((tmp_path / "whole" / "val.json").read_text())["annotations"][0]["bbox"]
    text = (tmp_path / "pixels" / "Annotations" / "val6.xml").read_text()
    assert f"<xmin>{x + 1:.0f}</xmin>" in text
    assert f"<xmax>{x + width:.0f}</xmax>" in text
    convert(make_set(tmp_path / "odd"), "voc", tmp_path / "coordinates")
    x, _, width, _ = json.loads((tmp_path / "odd" / "val.json").read_text())["annotations"][0]["bbox"]
    text = (tmp_path / "coordinates" / "Annotations" / "val6.xml").read_text()
    assert f"<xmin>{x}</xmin>" in text
    assert f"<xmax>{round(x + width, 6)}</xmax>" in text


def test_cocos_own_keys_stay_in_cocos_form(tmp_path):
    convert(make_set(tmp_path / "set"), "coco", tmp_path / "copy")
    content = json.loads((tmp_path / "copy" / "train.json").read_text())
    assert content["info"] == {"year": 2026}
    assert {image["licence"] for image in content["images"]} == {3}


def test_what_a_form_cannot_hold_is_said(tmp_path):
    root = make_set(tmp_path / "set", crowd=True)
    content = json.loads((root / "val.json").read_text())
    content["annotations"][0]["area"] /= 2
    (root / "val.json").write_text(json.dumps(content))
    lost = ["12 crowd regions", "1 areas that are not width times height, as of masks"]
    assert convert(root, "yolo", tmp_path / "yolo").lost == lost
    assert convert(root, "voc", tmp_path / "voc").lost == lost[1:]
    assert load_split(resolve(tmp_path / "voc"), "train").crowd.sum() == 6


@pytest.mark.parametrize("form", FORMS)
def test_pictures_of_one_name_stay_apart(form, tmp_path):
    root = make_set(tmp_path / "set", count=2)
    for split in ("train", "val"):
        content = json.loads((root / f"{split}.json").read_text())
        for image, name in zip(content["images"], ("a.png", "x/a.png"), strict=True):
            target = root / "images" / split / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(root / "images" / image["file_name"], target)
            image["file_name"] = f"{split}/{name}"
        (root / f"{split}.json").write_text(json.dumps(content))
    convert(root, form, tmp_path / "there")
    assert columns(tmp_path / "there") == columns(root)


def test_an_interrupted_conversion_leaves_nothing(tmp_path):
    root = make_set(tmp_path / "set")
    parts = {split: part_of(place) for split, place in find(root).items()}
    (root / "images" / "val1.png").unlink()
    with pytest.raises(FileNotFoundError):
        write_parts(parts, "yolo", tmp_path / "there")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set"]


def test_a_split_gives_every_class_its_share():
    rng = np.random.default_rng(1)
    counts = np.column_stack([np.ones(400), rng.poisson([4, 1, 0.1, 0.05], (400, 4))])
    shares = np.array([0.7, 0.2, 0.1])
    choice = divide(counts, shares, np.random.default_rng(0))
    for place, share in enumerate(shares):
        assert np.abs(counts[choice == place].sum(0) - share * counts.sum(0)).max() < 4


def test_a_split_is_repeated_by_its_seed_and_keeps_groups_and_order(tmp_path):
    root = make_set(tmp_path / "set", count=12)
    whole = together(part_of(place) for place in find(root).values())
    first, again, other = (divided(whole, 0.25, 0.25, seed=seed) for seed in (0, 0, 1))
    assert {split: part.names for split, part in first.items()} == {split: part.names for split, part in again.items()}
    assert first["val"].names != other["val"].names
    assert [len(first[split].names) for split in ("train", "val", "test")] == [12, 6, 6]
    assert sorted(name for part in first.values() for name in part.names) == sorted(whole.names)
    grouped = divided(whole, 0.4, group_by=r"[nl](\d)")
    for number in "123456789":
        holders = [
            split for split, part in grouped.items() if any(f"n{number}" in n or f"l{number}" in n for n in part.names)
        ]
        assert len(holders) == 1


def test_groups_are_folders_prefixes_or_what_matches():
    names = ["a/clip_1.jpg", "a/clip_20.jpg", "a/dog_jpg.rf.0a1b.jpg", "b/dog_jpg.rf.99.jpg", "b/7.jpg"]
    assert groups_of(names, "folder") == ["a", "a", "a", "b", "b"]
    assert groups_of(names, "prefix") == ["a/clip", "a/clip", "a/dog_jpg", "b/dog_jpg", "b/7"]
    assert groups_of(names[:2], r"clip_(\d)") == ["1", "2"]
    with pytest.raises(
        ValueError, match="'foldr' is neither 'folder' nor 'prefix', and as an expression not in 'a/clip_1"
    ):
        groups_of(names, "foldr")
    with pytest.raises(ValueError, match="no folder, prefix or regular expression"):
        groups_of(names, "(")


@pytest.mark.parametrize(("val", "test"), [(0, 0), (1, 0), (0.5, 0.5), (float("nan"), 0), (0.2, -0.1)])
def test_senseless_shares_are_refused(tmp_path, val, test):
    whole = together(part_of(place) for place in find(make_set(tmp_path / "set", count=2)).values())
    with pytest.raises(ValueError, match="must be shares that leave something to train on"):
        divided(whole, val, test)


def test_too_few_groups_are_refused(tmp_path):
    whole = together(part_of(place) for place in find(make_set(tmp_path / "set", count=2, folder="x/")).values())
    with pytest.raises(ValueError, match="1 groups of pictures are too few: nothing is left for val"):
        divided(whole, 0.2, group_by="folder")


def test_the_commands_write_and_say_what(tmp_path, capsys):
    root = make_set(tmp_path / "set", count=10)
    assert run("data", "convert", root, "--to", "yolo", "--out", tmp_path / "yolo") == 0
    assert capsys.readouterr().out.endswith(f"data set (yolo): {tmp_path / 'yolo'}\n")
    assert run("data", "split", tmp_path / "yolo", "--val", 0.2, "--test", 0.1, "--out", tmp_path / "three") == 0
    assert "data set (yolo)" in capsys.readouterr().out
    assert {split: statistics["images"] for split, statistics in check(tmp_path / "three").statistics.items()} == {
        "train": 14, "val": 4, "test": 2}  # fmt: skip
    assert run("data", "split", root / "train.json", "--to", "voc", "--out", tmp_path / "one") == 0
    assert check(tmp_path / "one").statistics["val"]["images"] == 2
    assert run("data", "convert", root, "--to", "voc", "--out", tmp_path / "one") == 1
    assert "name a new or empty folder" in capsys.readouterr().err


def test_a_subset_of_any_form_is_a_set(tmp_path):
    root = make_set(tmp_path / "set")
    for form in FORMS:
        convert(root, form, tmp_path / form)
        assert make_subset(resolve(tmp_path / form), tmp_path / f"few-{form}", 2) == 6
        assert not check(tmp_path / f"few-{form}", decode=True).errors


def test_rounding_errors_do_not_make_whole_boxes_coordinates(tmp_path):
    root = make_set(tmp_path / "set", decimals=0)
    document = json.loads((root / "train.json").read_text())
    document["annotations"][0]["bbox"][0] += 1e-9
    (root / "train.json").write_text(json.dumps(document))
    document["annotations"][0]["bbox"][0] = round(document["annotations"][0]["bbox"][0])
    convert(root, "voc", tmp_path / "voc")
    boxes = load_split(resolve(tmp_path / "voc"), "train").boxes
    np.testing.assert_array_equal(boxes, [entry["bbox"] for entry in document["annotations"]])


@pytest.mark.parametrize("form", FORMS)
def test_names_with_spaces_and_dots_come_back(form, tmp_path):
    root = make_set(tmp_path / "set", folder="my photo 1.jpg ")
    before = columns(root)
    convert(root, form, tmp_path / "other")
    assert columns(tmp_path / "other") == before


def test_pictures_of_windows_folders_come_back(tmp_path):
    root = make_set(tmp_path / "set", folder="day\\one ")
    before = columns(root)
    convert(root, "voc", tmp_path / "voc")
    assert columns(tmp_path / "voc") == before


@pytest.mark.parametrize("name", ["photo .png", " photo.png"])
def test_pictures_whose_names_lists_cannot_hold_are_refused(name, tmp_path):
    root = make_set(tmp_path / "set")
    (root / "images" / "train1.png").rename(root / "images" / name)
    (root / "train.json").write_text((root / "train.json").read_text().replace("train1.png", name))
    with pytest.raises(ValueError, match="cannot be written as VOC: a name is one line, without spaces at its ends"):
        convert(root, "voc", tmp_path / "voc")


@pytest.mark.parametrize(
    "name", ["two\nlines", " ahead", "bell\a", "line\u2028separator", "\ufffe", "\uffff", "half\ud800"]
)
def test_classes_that_vocs_files_cannot_hold_are_refused(name, tmp_path):
    root = make_set(tmp_path / "set")
    for split in ("train", "val"):
        file = root / f"{split}.json"
        file.write_text(file.read_text().replace('"zebra"', json.dumps(name)))
    with pytest.raises(ValueError, match=r"the class '.*' cannot be written as VOC: a name is one line"):
        convert(root, "voc", tmp_path / "voc")
    assert not (tmp_path / "voc").exists()

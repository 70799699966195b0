import json

import pytest

from detassign.data import cache_folder, read_categories, resolve


def test_folder_resolves_to_its_files_and_classes(sound_set):
    source = resolve(str(sound_set))
    assert source.name == "sound"
    assert source.train_annotations == sound_set / "train.json"
    assert source.val_annotations == sound_set / "val.json"
    assert source.train_images == source.val_images == sound_set / "images"
    assert source.classes == ("cat", "dog")


def test_classes_follow_the_ids_across_gaps_and_whatever_the_order_in_the_file(sound_set, edit):
    categories = [{"id": 90, "name": "toothbrush"}, {"id": 2, "name": "dog"}, {"id": 1, "name": "cat"}]
    for split in ("train", "val"):
        edit(lambda d: d.update(categories=categories), split)
    source = resolve(sound_set)
    assert source.classes == ("cat", "dog", "toothbrush")
    assert source.category_ids == (1, 2, 90)
    assert source.label_of_category == {1: 0, 2: 1, 90: 2}


@pytest.mark.parametrize(
    ("categories", "sentence"),
    [
        ([{"id": 1, "name": "cat"}, {"id": 2, "name": "cat"}], "share the name 'cat'"),
        ([{"id": 1, "name": "cat"}, {"id": 1, "name": "dog"}], "share the id 1"),
        ([{"id": "1", "name": "cat"}], "whole number 'id'"),
        ([{"id": 1}], "text 'name'"),
        ([7], "whole number 'id'"),
        ([], "non-empty list 'categories'"),
        (None, "non-empty list 'categories'"),
    ],
)
def test_unusable_categories_are_refused_naming_the_file(sound_set, edit, categories, sentence):
    edit(lambda d: d.update(categories=categories))
    with pytest.raises(ValueError, match=rf"train\.json: .*{sentence}"):
        resolve(sound_set)


def test_document_that_is_no_object_has_no_categories(tmp_path):
    (tmp_path / "list.json").write_text("[1, 2]")
    with pytest.raises(ValueError, match="must be an object"):
        read_categories(tmp_path / "list.json")


def test_splits_with_different_categories_are_refused(sound_set, edit):
    edit(lambda d: d["categories"].append({"id": 3, "name": "cow"}), "val")
    with pytest.raises(ValueError, match="must list the same categories"):
        resolve(sound_set)


@pytest.mark.parametrize(("missing", "there"), [("train", "val"), ("val", "train")])
def test_missing_split_is_named(sound_set, missing, there):
    (sound_set / f"{missing}.json").unlink()
    with pytest.raises(
        FileNotFoundError, match=f"needs a {missing} split and has {there} alone; 'detassign data split'"
    ):
        resolve(sound_set)


def test_missing_folder_of_images_is_named(sound_set):
    (sound_set / "images").rename(sound_set / "pictures")
    with pytest.raises(FileNotFoundError, match="images, which does not exist"):
        resolve(sound_set)


def test_coco_layout_is_found_below_its_root(tmp_path, sound_set):
    (tmp_path / "annotations").mkdir()
    for split in ("train", "val"):
        (sound_set / f"{split}.json").rename(tmp_path / "annotations" / f"instances_{split}2017.json")
        (tmp_path / f"{split}2017").mkdir()
    source = resolve("coco", tmp_path)
    assert source.train_images == tmp_path / "train2017"
    assert source.val_annotations == tmp_path / "annotations" / "instances_val2017.json"
    assert source.classes == ("cat", "dog")


def test_coco_without_a_root_is_refused():
    with pytest.raises(ValueError, match="'coco' needs a root"):
        resolve("coco")


def test_root_is_refused_where_it_means_nothing(sound_set, tmp_path):
    with pytest.raises(ValueError, match="root belongs to the data set 'coco'"):
        resolve(sound_set, tmp_path)


def test_synthetic_set_is_made_once_in_the_cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DETASSIGN_CACHE", str(tmp_path / "cache"))
    calls = []
    for _ in range(2):
        source = resolve("synthetic", images=4, seed=2, size=48, progress=lambda *count: calls.append(count))
    assert len(calls) == 4
    assert source.train_annotations.is_relative_to(tmp_path / "cache")
    assert len(json.loads(source.train_annotations.read_text())["images"]) == 3
    assert source.classes == ("disk", "ring", "triangle", "rectangle", "star")


def test_cache_folder_is_below_home_unless_told(monkeypatch, tmp_path):
    monkeypatch.delenv("DETASSIGN_CACHE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "detassign"


@pytest.mark.parametrize(("typed", "meant"), [("cocoo", "coco"), ("sintetic", "synthetic")])
def test_unknown_name_suggests_the_nearest(typed, meant):
    with pytest.raises(ValueError, match=f"did you mean '{meant}'"):
        resolve(typed)


def test_misspelt_folder_suggests_its_neighbour(sound_set):
    with pytest.raises(FileNotFoundError, match=r"did you mean '.*sound'"):
        resolve(str(sound_set.parent / "sund"))


def test_a_single_file_is_no_set_to_train_on(sound_set):
    with pytest.raises(FileNotFoundError, match="needs a val split and has train alone"):
        resolve(sound_set / "train.json")
    (sound_set / "notes.txt").write_text("years of work")
    with pytest.raises(ValueError, match="it is a file, and data must be a folder"):
        resolve(sound_set / "notes.txt")

import json

import cv2
import pytest

from detassign.data import SceneStyle, check, make_dataset
from detassign.data.shapes import CLASSES

SMALL = {"images": 10, "size": 64}


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def interrupt(done, total):
    if done == 3:
        raise KeyboardInterrupt


def test_same_seed_gives_the_same_bytes(tmp_path):
    for name in "ab":
        make_dataset(tmp_path / name, **SMALL, seed=4)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_other_seed_gives_other_pictures(tmp_path):
    for seed in (0, 1):
        make_dataset(tmp_path / str(seed), **SMALL, seed=seed)
    first, second = contents(tmp_path / "0"), contents(tmp_path / "1")
    assert first.keys() == second.keys()
    assert all(first[name] != second[name] for name in first)


def test_smaller_set_is_the_beginning_of_a_larger_one(tmp_path):
    for images in (6, 12):
        make_dataset(tmp_path / str(images), images=images, size=64, val_fraction=0.5)
    small, large = contents(tmp_path / "6"), contents(tmp_path / "12")
    assert all(large[name] == picture for name, picture in small.items() if name.endswith(".jpg"))
    for split in ("train.json", "val.json"):
        fewer, more = json.loads(small[split]), json.loads(large[split])
        for key in ("images", "annotations"):
            assert more[key][: len(fewer[key])] == fewer[key]


def test_written_set_is_sound_coco(tmp_path):
    summary = make_dataset(tmp_path / "set", images=20, size=96)
    report = check(tmp_path / "set")
    assert report.errors == report.warnings == ()
    assert report.statistics["train"]["images"] == summary.train_images == 16
    assert report.statistics["val"]["boxes"] == summary.val_boxes
    assert tuple(report.statistics["train"]["classes"]) == tuple(CLASSES)


def test_picture_has_the_listed_size_and_ids_count_from_1(tmp_path):
    make_dataset(tmp_path / "set", **SMALL)
    document = json.loads((tmp_path / "set" / "train.json").read_text())
    image = document["images"][0]
    assert cv2.imread(str(tmp_path / "set" / "images" / image["file_name"])).shape == (64, 64, 3)
    assert (image["id"], image["width"], image["height"]) == (1, 64, 64)
    assert [a["id"] for a in document["annotations"]] == list(range(1, len(document["annotations"]) + 1))
    assert [c["id"] for c in document["categories"]] == [1, 2, 3, 4, 5]


def test_first_picture_of_a_split_always_holds_an_object(tmp_path):
    summary = make_dataset(tmp_path / "set", images=2, size=64, style=SceneStyle(empty_share=1.0))
    assert summary.train_boxes > 0
    assert summary.val_boxes > 0


def test_progress_counts_every_picture(tmp_path):
    calls = []
    make_dataset(tmp_path / "set", images=5, size=48, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(done, 5) for done in range(1, 6)]


def test_finished_set_is_reused(tmp_path):
    assert not make_dataset(tmp_path / "set", **SMALL).reused
    before = contents(tmp_path / "set")
    again = make_dataset(tmp_path / "set", **SMALL, progress=interrupt)
    assert again.reused
    assert contents(tmp_path / "set") == before


def test_set_with_a_picture_gone_is_made_again(tmp_path):
    make_dataset(tmp_path / "set", **SMALL)
    before = contents(tmp_path / "set")
    (tmp_path / "set" / "images" / "train_000002.jpg").unlink()
    with pytest.raises(FileExistsError, match="holds files already"):
        make_dataset(tmp_path / "set", **SMALL)
    assert not make_dataset(tmp_path / "set", **SMALL, replace=True).reused
    assert contents(tmp_path / "set") == before


def test_generated_set_of_other_parameters_stays_unless_it_may_be_replaced(tmp_path):
    make_dataset(tmp_path / "set", **SMALL)
    before = contents(tmp_path / "set")
    with pytest.raises(FileExistsError, match="holds files already, such as 'images'; name a new or empty folder"):
        make_dataset(tmp_path / "set", images=4, size=64)
    assert contents(tmp_path / "set") == before
    make_dataset(tmp_path / "set", images=4, size=64, replace=True)
    assert len(list((tmp_path / "set" / "images").iterdir())) == 4


def test_interrupted_run_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        make_dataset(tmp_path / "set", **SMALL, progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_interrupted_replacement_keeps_the_former_set(tmp_path):
    make_dataset(tmp_path / "set", **SMALL)
    before = contents(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        make_dataset(tmp_path / "set", **SMALL, seed=9, progress=interrupt, replace=True)
    assert contents(tmp_path) == before


def test_empty_folder_is_used(tmp_path):
    (tmp_path / "set").mkdir()
    make_dataset(tmp_path / "set", **SMALL)
    assert (tmp_path / "set" / "train.json").is_file()


@pytest.mark.parametrize("place", ["notes.txt", "images/holiday.jpg"])
def test_folder_with_foreign_files_is_refused_and_untouched(tmp_path, place):
    make_dataset(tmp_path / "set", **SMALL)
    (tmp_path / "set" / place).write_text("mine")
    before = contents(tmp_path)
    with pytest.raises(FileExistsError, match="is no part of a generated data set"):
        make_dataset(tmp_path / "set", **SMALL, seed=9, replace=True)
    assert contents(tmp_path) == before


def test_somebody_elses_coco_folder_is_refused(sound_set):
    before = contents(sound_set)
    with pytest.raises(FileExistsError, match="name a new or empty folder"):
        make_dataset(sound_set, **SMALL)
    assert contents(sound_set) == before


def test_file_in_the_way_is_refused(tmp_path):
    (tmp_path / "set").write_text("mine")
    with pytest.raises(FileExistsError, match="is a file"):
        make_dataset(tmp_path / "set", **SMALL)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"images": 1}, "images must be a whole number between 2 and"),
        ({"images": True}, "images must be a whole number"),
        ({"seed": -1}, "seed must be a whole number between 0 and"),
        ({"size": 16}, "size must be a whole number between 32 and"),
        ({"val_fraction": 1.0}, "val_fraction must lie between 0 and 1"),
        ({"size": 64, "style": SceneStyle(smallest_side=40)}, "smallest_side must be at most a quarter of size 64"),
    ],
)
def test_senseless_parameter_is_refused_by_name(tmp_path, changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        make_dataset(tmp_path / "set", **changes)
    assert list(tmp_path.iterdir()) == []

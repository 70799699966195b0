"""A few pictures of a data set as a set of their own."""

import json

import pytest

from detassign.data import check, make_dataset, make_subset, resolve


@pytest.fixture
def shapes(tmp_path):
    make_dataset(tmp_path / "shapes", images=10, size=64)
    return resolve(tmp_path / "shapes")


def test_a_subset_is_a_sound_set_whose_splits_are_the_same(shapes, tmp_path):
    """Nothing dangles: images, boxes and categories belong together."""
    boxes = make_subset(shapes, tmp_path / "few", 4)
    few = resolve(tmp_path / "few")
    assert few.classes == shapes.classes
    assert few.train_annotations.read_text() == few.val_annotations.read_text()
    document = json.loads(few.train_annotations.read_text())
    assert len(document["images"]) == len(list((tmp_path / "few" / "images").iterdir())) == 4
    assert len(document["annotations"]) == boxes > 0
    assert not check(few).errors


def test_a_subset_refuses_more_pictures_than_there_are(shapes, tmp_path):
    """In one sentence, and without leaving a folder."""
    with pytest.raises(ValueError, match="images: expected 1 to"):
        make_subset(shapes, tmp_path / "few", 1000)
    assert not (tmp_path / "few").exists()


def test_a_subset_leaves_other_files_alone(shapes, tmp_path):
    """A folder in use is refused before anything is written."""
    (tmp_path / "few").mkdir()
    (tmp_path / "few" / "thesis.txt").write_text("years")
    with pytest.raises(FileExistsError, match="holds files already, such as 'thesis"):
        make_subset(shapes, tmp_path / "few", 2)
    assert [entry.name for entry in (tmp_path / "few").iterdir()] == ["thesis.txt"]


def test_a_subset_follows_no_name_out_of_the_folder(shapes, tmp_path):
    """Annotation files come from anywhere."""
    document = json.loads(shapes.train_annotations.read_text())
    for image in document["images"]:
        image["file_name"] = "../../secret.jpg"
    shapes.train_annotations.write_text(json.dumps(document))
    with pytest.raises(ValueError, match="leave the folder"):
        make_subset(shapes, tmp_path / "few", 2)
    assert not (tmp_path / "few").exists()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda document: document.pop("annotations"), "the file has no list 'annotations'"),
        (lambda document: document.update(annotations=None), "'annotations' must be a list"),
        (lambda document: document["annotations"][0].pop("image_id"), "have no 'image_id'"),
        (lambda document: document["images"][0].update(id=[1]), "'id' in 'images' must be a whole number"),
        (lambda document: document["images"].append("x"), "every entry of 'images' must be an object"),
    ],
)
def test_a_subset_of_a_file_that_cannot_train_is_refused_as_train_does(shapes, tmp_path, change, sentence):
    document = json.loads(shapes.train_annotations.read_text())
    change(document)
    shapes.train_annotations.write_text(json.dumps(document))
    with pytest.raises(ValueError, match=sentence):
        make_subset(shapes, tmp_path / "few", 2)
    assert not (tmp_path / "few").exists()

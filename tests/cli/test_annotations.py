"""The same sentences about a data set from every command that uses it."""

import json

import pytest
import torch
from support.command import run

from detassign.data import make_dataset, resolve
from detassign.engine.build import build_model
from detassign.engine.config import compose
from detassign.engine.files import write_json


@pytest.fixture
def shapes(tmp_path):
    """A generated data set of its own, to be spoiled, and a run on it."""
    make_dataset(tmp_path / "shapes", images=4, size=64)
    config = compose("fcos_tiny", "fcos", resolve(tmp_path / "shapes"), changes={"input.scale": (64, 64)})
    (tmp_path / "run").mkdir()
    write_json(config, tmp_path / "run" / "config.json")
    torch.save({"state_dict": build_model(config).state_dict()}, tmp_path / "run" / "epoch_1.pth")
    (tmp_path / "run" / "last_checkpoint").write_text("epoch_1.pth")
    return tmp_path / "shapes"


def edit(folder, mutate, splits=("train", "val")):
    for split in splits:
        document = json.loads((folder / f"{split}.json").read_text())
        mutate(document)
        (folder / f"{split}.json").write_text(json.dumps(document))


def each(section, **changes):
    return lambda document: [entry.update(changes) for entry in document[section]]


def without(section, key):
    return lambda document: [entry.pop(key) for entry in document[section]]


def doubled(document):
    for image in document["images"]:
        image.update(width=2 * image["width"], height=2 * image["height"])
    for entry in document["annotations"]:
        entry["bbox"] = [2 * side for side in entry["bbox"]]


def commands(shapes):
    """Every command that works on a data set; what takes long is given a mistake that is met after the check."""
    run_folder, out, no_image = shapes.parent / "run", shapes.parent, ("--image", 99)
    return {
        "config": ("config", "--data", shapes),
        "train": ("train", "--data", shapes, "--work-dir", out / "new", "--epochs", 1, "--device", "none", "--quiet"),
        "test": ("test", run_folder),
        "inspect": ("inspect", "--data", shapes, *no_image),
        "inspect run": ("inspect", "--run", run_folder, *no_image),
        "subset": ("data", "subset", out / "few", "--data", shapes, "--images", 1),
    }


def trained(shapes):
    """A training that goes through."""
    words = ("train", "--data", shapes, "--work-dir", shapes.parent / "new", "--epochs", 1, "--quiet")
    return (*words, "--set", "input.scale=(64, 64)")


ERRORS = {
    "bbox gone": without("annotations", "bbox"),
    "bbox empty": each("annotations", bbox=[]),
    "bbox text": each("annotations", bbox=["1", "2", "3", "4"]),
    "bbox null": each("annotations", bbox=None),
    "bbox of nulls": each("annotations", bbox=[None] * 4),
    "bbox NaN": each("annotations", bbox=[float("nan")] * 4),
    "image id gone": without("images", "id"),
    "height gone": without("images", "height"),
    "width null": each("images", width=None),
    "file name gone": without("images", "file_name"),
    "image unknown": each("annotations", image_id=99),
    "category unknown": each("annotations", category_id=99),
    "crowd text": each("annotations", iscrowd="0"),
    "all crowds": each("annotations", iscrowd=1),
    "all ignored": each("annotations", ignore=1),
    "no annotations": lambda document: document.pop("annotations"),
    "annotations null": lambda document: document.update(annotations=None),
    "images are numbers": lambda document: document.update(images=[1, 2]),
    "outside the folder": each("images", file_name="../a.jpg"),
}


@pytest.mark.parametrize("mutate", ERRORS.values(), ids=ERRORS)
def test_every_command_refuses_in_the_words_of_the_check(shapes, mutate, capsys):
    edit(shapes, mutate)
    assert run("data", "check", shapes) == 1
    shown = capsys.readouterr().out.splitlines()
    errors = [line.removeprefix("error: ") for line in shown if line.startswith("error: ")]
    for name, words in commands(shapes).items():
        assert run(*words) == 1, name
        split = "val" if name in ("test", "inspect run") else "train"
        first = next(error for error in errors if error.startswith(f"{split}.json"))
        assert capsys.readouterr().err == f"detassign: data: {first}; see 'detassign data check'\n", name
    assert {path.name for path in shapes.parent.iterdir()} == {"shapes", "run"}


@pytest.mark.parametrize("mutate", [lambda d: d.clear(), each("categories", name=None)], ids=["empty", "no names"])
def test_categories_that_say_nothing_are_refused_by_every_command_with_the_files_name(shapes, mutate, capsys):
    edit(shapes, mutate)
    for name, words in {"check": ("data", "check", shapes), **commands(shapes)}.items():
        assert run(*words) == 1, name
        shown = capsys.readouterr()
        said = shown.out if name == "check" else shown.err
        assert ".json: a" in said
        assert name == "check" or said.count("\n") == 1, name


def test_only_the_split_that_is_used_must_be_sound(shapes, capsys):
    edit(shapes, each("annotations", bbox=[]), ["train"])
    assert run("test", shapes.parent / "run", "--json") == 0
    assert run("test", shapes.parent / "run", "--split", "train") == 1
    assert "detassign: data: train.json: 'bbox' in 'annotations' must be" in capsys.readouterr().err


WARNINGS = {
    "sizes of other pictures": (doubled, "images have another size than listed"),
    "thin": (lambda d: d["annotations"][0].update(bbox=[1, 1, 0.5, 9]), "boxes are thinner than a pixel"),
    "inverted": (lambda d: d["annotations"][0].update(bbox=[9, 9, -5, -5]), "boxes have no width or height"),
    "outside": (lambda d: d["annotations"][0].update(bbox=[99, 9, 5, 5]), "boxes lie beyond their image"),
}


@pytest.mark.parametrize(("mutate", "sentence"), WARNINGS.values(), ids=WARNINGS)
def test_warnings_of_the_check_are_on_standard_error_of_every_command_once(shapes, mutate, sentence, capsys):
    edit(shapes, mutate)
    assert run("data", "check", shapes) == 0
    shown = capsys.readouterr().out.splitlines()
    warned = [line.removeprefix("warning: ") for line in shown if line.startswith("warning: ")]
    assert [line for line in warned if sentence in line]
    for name, words in commands(shapes).items():
        if name == "subset":
            continue
        run(*words)
        splits = ("val.json",) if name in ("test", "inspect run") else ("train.json", "val.json")
        expected = [f"detassign: warning: {line}" for line in warned if line.startswith(splits)]
        said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("detassign: warning: ")]
        assert said == expected, name


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_every_command_reads_every_encoding(shapes, encoding, capsys):
    for split in ("train", "val"):
        text = (shapes / f"{split}.json").read_text().replace("disk", "红细胞")
        (shapes / f"{split}.json").write_bytes(text.encode(encoding))
    config = json.loads((shapes.parent / "run" / "config.json").read_text())
    config["data"]["classes"][0] = "红细胞"
    write_json(config, shapes.parent / "run" / "config.json")
    late = {"train": "device: expected", "inspect": "--image 99", "inspect run": "--image 99"}
    for name, words in commands(shapes).items():
        assert run(*words) == int(name in late), name
        assert late.get(name, "") in capsys.readouterr().err, name
    assert {path.name for path in shapes.parent.iterdir()} == {"shapes", "run", "few"}


def test_training_reads_every_encoding(shapes):
    for split in ("train", "val"):
        text = (shapes / f"{split}.json").read_text().replace("disk", "红细胞")
        (shapes / f"{split}.json").write_bytes(text.encode("utf-16"))
    assert run(*trained(shapes)) == 0
    assert "AP" in json.loads((shapes.parent / "new" / "summary.json").read_text())["metrics"]


def test_a_truncated_image_is_found_by_decoding(shapes, capsys):
    picture = sorted((shapes / "images").glob("train*"))[0]
    picture.write_bytes(picture.read_bytes()[:-200])
    assert run("data", "check", shapes) == 0
    capsys.readouterr()
    assert run("data", "check", shapes, "--decode") == 1
    shown = capsys.readouterr()
    assert f"error: train.json: images cannot be decoded (1, such as '{picture.name}')" in shown.out
    assert "reading images" in shown.err
    assert run(*trained(shapes)) == 1
    said = capsys.readouterr().err
    assert f"{picture.name} (64 x 64) cannot be read or resized; see 'detassign data check --decode'" in said

"""data make and data check on the command line."""

import json

import pytest
from support.command import run


@pytest.fixture
def shapes(tmp_path):
    """A generated data set of its own, to be spoiled."""
    assert run("data", "make", tmp_path / "shapes", "--images", 6, "--size", 64) == 0
    return tmp_path / "shapes"


def test_make_writes_a_set_and_says_what_and_where(tmp_path, capsys):
    assert run("data", "make", tmp_path / "shapes", "--images", 6, "--seed", 3, "--size", 64) == 0
    shown = capsys.readouterr()
    assert shown.out.endswith(f"data set: {tmp_path / 'shapes'}\n")
    assert "6/6" in shown.err
    assert len(list((tmp_path / "shapes" / "images").iterdir())) == 6
    assert json.loads((tmp_path / "shapes" / "synthetic.json").read_text())["parameters"]["seed"] == 3


def test_make_again_finds_it_there(shapes, capsys):
    capsys.readouterr()
    assert run("data", "make", shapes, "--images", 6, "--size", 64) == 0
    shown = capsys.readouterr()
    assert f"was there already: {shapes}" in shown.out
    assert shown.err == ""


def test_make_leaves_other_files_alone(tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("years of work")
    assert run("data", "make", tmp_path, "--images", 6) == 1
    assert "thesis.txt" in capsys.readouterr().err
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_make_refuses_senseless_numbers_in_one_sentence(tmp_path, capsys):
    assert run("data", "make", tmp_path / "shapes", "--size", 3) == 1
    assert capsys.readouterr().err == "detassign: size must be a whole number between 32 and 4096, got 3\n"


def test_an_interrupted_make_leaves_nothing_and_stops_its_bar(tmp_path, capsys, monkeypatch):
    from detassign.data import synthetic

    draw, drawn = synthetic.draw_scene, []

    def interrupted(*arguments, **named):
        drawn.append(1)
        if len(drawn) == 3:
            raise KeyboardInterrupt
        return draw(*arguments, **named)

    monkeypatch.setattr(synthetic, "draw_scene", interrupted)
    assert run("data", "make", tmp_path / "shapes", "--images", 6) == 130
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().err.endswith("detassign: interrupted; what was finished is kept\n")


def test_check_of_a_sound_set_shows_statistics_and_passes(shapes, capsys):
    capsys.readouterr()
    assert run("data", "check", shapes) == 0
    shown = capsys.readouterr().out
    assert "boxes per image" in shown
    assert shown.endswith("shapes: 0 errors, 0 warnings\n")


def test_check_of_a_faulty_set_names_the_fault_and_fails(shapes, capsys):
    document = json.loads((shapes / "train.json").read_text())
    document["annotations"][0]["category_id"] = 99
    (shapes / "train.json").write_text(json.dumps(document))
    (shapes / "images" / "val_000000.jpg").unlink()
    capsys.readouterr()
    assert run("data", "check", shapes) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("error: val.json") and "val_000000.jpg" in line]
    assert [line for line in lines if line.startswith("error: train.json")]
    assert lines[-1] == "shapes: 2 errors, 0 warnings"


def test_check_as_json_is_the_report(shapes, capsys):
    (shapes / "val.json").unlink()
    capsys.readouterr()
    assert run("data", "check", shapes, "--json") == 1
    report = json.loads(capsys.readouterr().out)
    assert [finding["code"] for finding in report["findings"]] == ["missing-split"]
    assert set(report["statistics"]) == {"train"}


def test_check_takes_a_single_annotation_file(shapes, capsys):
    capsys.readouterr()
    assert run("data", "check", shapes / "val.json", "--json") == 0
    assert set(json.loads(capsys.readouterr().out)["statistics"]) == {"val"}


def test_check_finds_an_unreadable_image_among_those_opened(shapes, capsys):
    (shapes / "images" / "train_000000.jpg").write_text("no image")
    assert run("data", "check", shapes, "--headers", 0) == 0
    assert run("data", "check", shapes) == 1
    assert "images cannot be opened" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["sintetic"], "did you mean 'synthetic'?"),
        (["coco"], "needs a root"),
        (["synthetic", "--data-root", "somewhere"], "root belongs to the data set 'coco'"),
        (["no/such/folder"], "the data folder no/such/folder does not exist"),
    ],
)
def test_check_of_what_is_not_there_is_one_sentence(arguments, sentence, capsys):
    assert run("data", "check", *arguments) == 1
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1


def test_check_shows_names_with_brackets_as_they_are(shapes, capsys):
    folder = shapes.rename(shapes.parent / "set [bold]")
    names = ["person [adult]", "[/] none", "[red]", ":dog:", "\x1b[2J"]
    for split in ("train", "val"):
        document = json.loads((folder / f"{split}.json").read_text())
        for category, name in zip(document["categories"], names, strict=True):
            category["name"] = name
        (folder / f"{split}.json").write_text(json.dumps(document))
    capsys.readouterr()
    assert run("data", "check", folder) == 0
    shown = capsys.readouterr().out
    assert all(f"classes: {name}" in shown for name in [*names[:4], "\\x1b[2J"])
    assert shown.count("set [bold]") == 2

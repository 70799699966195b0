"""One rule for folders that hold something: no command writes into them, whatever they hold."""

import pytest
from support.command import run

from detassign.data import make_dataset

SENTENCE = "holds files already, such as 'thesis.txt'; name a new or empty folder"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "shapes"
    make_dataset(folder, images=4, size=64)
    return folder


COMMANDS = {
    "data make": lambda used, data, tiny_run: ("data", "make", used, "--images", 4),
    "data subset": lambda used, data, tiny_run: ("data", "subset", used, "--data", data, "--images", 2),
    "train": lambda used, data, tiny_run: ("train", "--data", data, "--work-dir", used),
    "train --resume": lambda used, data, tiny_run: ("train", tiny_run / "config.json", "--resume", "--work-dir", used),
    "predict": lambda used, data, tiny_run: ("predict", tiny_run, data / "images", "--out", used),
    "bench assigners": lambda used, data, tiny_run: ("bench", "assigners", "--data", data, "--work-dir", used),
}


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("inside", ["thesis.txt", "cells/thesis.txt"])
def test_a_folder_in_use_is_refused_and_untouched(name, inside, data, tiny_run, tmp_path, capsys):
    used = tmp_path / "used"
    (used / inside).parent.mkdir(parents=True)
    (used / inside).write_text("years of work")
    assert run(*COMMANDS[name](used, data, tiny_run)) == 1
    assert SENTENCE.replace("thesis.txt", inside.partition("/")[0]) in capsys.readouterr().err
    assert [path.relative_to(used).as_posix() for path in used.rglob("*") if path.is_file()] == [inside]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_file_in_the_place_of_a_folder_is_refused(name, data, tiny_run, tmp_path, capsys):
    (tmp_path / "used").write_text("mine")
    assert run(*COMMANDS[name](tmp_path / "used", data, tiny_run)) == 1
    assert "used is a file; name a new or empty folder" in capsys.readouterr().err
    assert (tmp_path / "used").read_text() == "mine"


def test_making_the_same_set_again_finds_it_there(data, capsys):
    assert run("data", "make", data, "--images", 4, "--size", 64) == 0
    assert f"was there already: {data}" in capsys.readouterr().out


def test_inspect_writes_over_no_picture_that_it_was_not_told_to(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert run("inspect", "--data", data, "--assigners", "fcos") == 0
    first, second = sorted(tmp_path.iterdir(), key=lambda path: len(path.name))
    assert second.name == f"{first.stem}-2.png"
    first.write_text("not a picture")
    assert run("inspect", "--data", data, "--assigners", "fcos", "--out", first) == 0
    assert first.read_bytes().startswith(b"\x89PNG")

"""Parts of one's own on the command line: --import, files in specs, and runs that bring code."""

import json
import os
import shutil

import pytest
from support.own_parts import NEAREST

from detassign.assigners import MATCHINGS, imports
from detassign.cli import main
from detassign.data import make_dataset

pytestmark = pytest.mark.usefixtures("own_parts")
SMALL = ("--detector", "fcos_tiny", "--epochs", 1, "--batch-size", 4, "--set", "input.scale=(64, 64)", "--quiet")


def run(*arguments):
    """Exit status of a command, in a process that knows no parts of one's own."""
    imports._loaded.clear()
    MATCHINGS._entries.pop("nearest", None)
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    return stopped.value.code


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "shapes"
    make_dataset(folder, images=8, size=64)
    return folder


@pytest.fixture
def mine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DETASSIGN_STATE", str(tmp_path / "state"))
    (tmp_path / "mine.py").write_text(NEAREST)
    return tmp_path / "mine.py"


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """The folder of a run with a matching of its own."""
    place = tmp_path_factory.mktemp("own")
    (place / "mine.py").write_text(NEAREST)
    before = os.environ.get("DETASSIGN_STATE")
    os.environ["DETASSIGN_STATE"] = str(place / "state")
    given = ("--import", place / "mine.py", "--assigner", "nearest(k=2)+focal")
    assert run("train", "--data", data, *given, *SMALL, "--work-dir", place / "run") == 0
    os.environ.pop("DETASSIGN_STATE") if before is None else os.environ.update(DETASSIGN_STATE=before)
    MATCHINGS._entries.pop("nearest")
    return place / "run"


def test_a_run_records_its_code_and_keeps_a_copy(trained):
    config = json.loads((trained / "config.json").read_text())
    assert config["imports"] == {"mine.py": imports.digest_of(NEAREST.encode())}
    assert config["model"]["head"]["assigner"]["matching"] == {"type": "nearest", "k": 2}
    assert (trained / "imports" / "mine.py").read_text() == NEAREST


@pytest.mark.parametrize(
    "command",
    [
        ("test", "{run}", "--json"),
        ("predict", "{run}", "{data}/images", "--out", "{out}", "--json-only"),
        ("inspect", "--run", "{run}", "--assigners", "nearest+focal,fcos", "--out", "{out}.png"),
        ("train", "--work-dir", "{run}", "--resume", "--quiet", "--no-table"),
        ("config", "{run}/config.json"),
    ],
    ids=lambda command: command[0],
)
def test_a_run_from_elsewhere_runs_its_code_with_consent_and_then_needs_no_flag(trained, data, mine, capsys, command):
    folder = mine.parent / "run"
    shutil.copytree(trained, folder)
    arguments = [part.format(run=folder, data=data, out=mine.parent / "out") for part in command]
    assert run(*arguments) == 1
    assert "mine.py; read it, and say --trust to run it" in capsys.readouterr().err
    assert "nearest" not in MATCHINGS
    assert run(*arguments, "--trust") == 0
    shutil.rmtree(mine.parent / "out", ignore_errors=True)
    assert run(*arguments) == 0


def test_the_file_that_a_spec_names_is_loaded_and_recorded(data, mine, capsys):
    assert run("config", "--data", data, "--assigner", "mine.py:nearest(k=2)+focal") == 0
    config = json.loads(capsys.readouterr().out)
    assert list(config["imports"]) == ["mine.py"]
    assert config["name"] == "fcos_tiny-mine.py:nearest(k=2)+focal-shapes"
    assert config["model"]["head"]["assigner"] == {"matching": {"type": "nearest", "k": 2}, "weighting": "focal"}
    assert run("config", "--data", data, "--set", "model.head.assigner=./mine.py:nearest+focal") == 0
    assert list(json.loads(capsys.readouterr().out)["imports"]) == ["mine.py"]


def test_a_recipe_may_name_a_file(data, mine, capsys):
    (mine.parent / "recipe.py").write_text('detector, assigner = "fcos_tiny", "mine.py:nearest+focal"\n')
    assert run("config", "recipe.py", "--data", data) == 0
    assert list(json.loads(capsys.readouterr().out)["imports"]) == ["mine.py"]


def test_a_changed_file_is_not_mixed_into_a_run(trained, mine, capsys):
    folder = mine.parent / "run"
    shutil.copytree(trained, folder)
    mine.write_text(NEAREST + "# changed\n")
    assert run("train", "--work-dir", folder, "--resume", "--import", mine, "--quiet") == 1
    shown = capsys.readouterr().err
    assert "holds a run of another config: imports.mine.py is" in shown


def test_list_shows_parts_of_ones_own(mine, capsys):
    assert run("list", "matchings", "--json", "--import", "mine.py") == 0
    listed = json.loads(capsys.readouterr().out)["matchings"]
    assert listed["nearest"] == "Every object is learned by the k points nearest to its centre."


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--import", "none.py"], "import none.py: there is no such file"),
        (["--import", "broken.py"], "import broken.py: line 1: ZeroDivisionError: division by zero"),
        (["--import", "mine"], "a file is named with its .py"),
        (["--assigner", "mine.py:nearst+focal"], "unknown matching of mine.py 'nearst'; did you mean 'nearest'?"),
        (["--assigner", "none.py:nearest+focal"], "import none.py: there is no such file"),
    ],
)
def test_a_mistake_is_one_sentence(data, mine, capsys, arguments, sentence):
    (mine.parent / "broken.py").write_text("1 / 0\n")
    assert run("train", "--data", data, *arguments, "--work-dir", "r") == 1
    shown = capsys.readouterr().err
    assert sentence in shown
    assert "Traceback" not in shown
    assert not (mine.parent / "r").exists()

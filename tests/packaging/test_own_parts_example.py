"""The documentation's example of parts of one's own, followed to the letter in an empty folder."""

import json
import re
import shlex
from pathlib import Path

import pytest

from detassign.assigners import imports, registry
from detassign.cli import main

DOCUMENT = Path(__file__).parents[2] / "docs" / "assigners.md"


def block(language, marker):
    """The block of a language that holds a text."""
    blocks = re.findall(rf"```{language}\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    return next(text for text in blocks if marker in text)


def forget_own_parts():
    """As in a new process."""
    imports._loaded.clear()
    registry.forget("detassign_imports.mine")


@pytest.mark.usefixtures("own_parts")
def test_the_example_works_as_printed(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DETASSIGN_STATE", str(tmp_path / "state"))
    Path("mine.py").write_text(block("python", "# mine.py"))
    commands = [shlex.split(line) for line in block("console", "check mine.py").splitlines()]
    assert {command[1] for command in commands} >= {"train", "test", "predict", "inspect", "bench", "check", "list"}
    for command in commands:
        assert command[0] == "detassign"
        forget_own_parts()
        with pytest.raises(SystemExit) as stopped:
            main(command[1:])
        assert stopped.value.code == 0, (command, capfd.readouterr().err)
    assert Path("run/imports/mine.py").read_bytes() == Path("mine.py").read_bytes()
    assert len(json.loads(Path("found/predictions.json").read_text())) == 12
    assert [row["assigner"] for row in json.loads(Path("bench/results.json").read_text())["table"]] == [
        "atss",
        "mine.py:near(k=9)",
    ]
    assert all(Path(picture).is_file() for picture in ("run.png", "simulated.png"))

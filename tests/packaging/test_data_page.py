"""docs/data.md, followed to the letter in an empty folder."""

import json
import re
import shlex
from pathlib import Path

import pytest
from PIL import Image

from detassign.cli import main
from detassign.data.forms import find

DOCUMENT = Path(__file__).parents[2] / "docs" / "data.md"


def test_the_page_works_as_printed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = DOCUMENT.read_text(encoding="utf-8")
    commands = [
        shlex.split(line)
        for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL)
        for line in block.splitlines()
    ]
    assert len(commands) == 10
    for command in commands:
        assert command[0] == "detassign"
        with pytest.raises(SystemExit) as stopped:
            main(command[1:])
        assert stopped.value.code == 0, (command, capsys.readouterr().err)
    with Image.open("shapes.png") as sheet:
        assert sheet.size[0] > 1000
    assert Path("test.png").is_file()
    assert list(find(Path("mine"))) == ["train", "val", "test"]
    assert [next(iter(find(Path(name)).values())).form for name in ("mine", "as-coco", "as-voc")] == [
        "yolo",
        "coco",
        "voc",
    ]
    assert json.loads(Path("run/config.json").read_text())["data"]["form"] == "yolo"

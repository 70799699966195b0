"""Files are whole or not there."""

import json

import pytest

from detassign.engine.files import write_bytes, write_json, write_whole


def test_json_reads_back(tmp_path):
    write_json({"a": [1, None]}, tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": [1, None]}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"old")

    def full(path, content):
        path.touch()
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        write_bytes(b"new", tmp_path / "a")
    assert (tmp_path / "a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_full_disk_names_the_file(tmp_path):
    """The system's own error does not."""

    def full(aside):
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left") as caught:
        write_whole(full, tmp_path / "epoch_1.pth")
    assert caught.value.filename == str(tmp_path / "epoch_1.pth")

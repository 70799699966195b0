import gc
import json
import os
import re
import stat
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from support.package import ROOT, python_files

from detassign.data.files import collector_paused, json_text, new_folder, read_json, read_text, written_aside
from detassign.data.forms.voc_xml import parse


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.json does not exist"):
        read_json(tmp_path / "none.json")


def test_folder_is_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not a file"):
        read_json(tmp_path)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b'{"images": [1,\n 2,,]}', "line 2, column 4"),
        (b"", "line 1, column 1"),
        (b'{"a": "\xff\xfe\xff"}', "is not utf"),
        (b"[" * 100_000, "nested too deeply"),
        (b"9" * 10_000, "no readable JSON"),
    ],
    ids=["syntax", "empty", "encoding", "depth", "digits"],
)
def test_wrong_json_is_one_sentence_with_its_place(tmp_path, content, sentence):
    (tmp_path / "wrong.json").write_bytes(content)
    with pytest.raises(ValueError, match=sentence):
        read_json(tmp_path / "wrong.json")


def test_oversize_file_is_not_read(tmp_path):
    (tmp_path / "large.json").write_text("[" + "1," * 100 + "1]")
    with pytest.raises(ValueError, match="more than the 100 that are read"):
        read_json(tmp_path / "large.json", largest=100)


def test_a_file_that_grew_is_read_as_far_as_the_limit(tmp_path, monkeypatch):
    """What the file system says of its size is no bound: it says 0 of some files."""
    (tmp_path / "large.txt").write_text("1" * 101)
    small = os.stat_result((stat.S_IFREG, *[0] * 9))
    monkeypatch.setattr(Path, "stat", lambda *_, **__: small)
    for read in (read_json, read_text):
        with pytest.raises(ValueError, match="more than the 100 that are read"):
            read(tmp_path / "large.txt", 100)


@pytest.mark.parametrize("said", [0, 7, 3_000_000])
def test_a_file_of_another_size_than_it_says_is_read_to_its_end(tmp_path, monkeypatch, said):
    (tmp_path / "long.txt").write_text("1" * 2_500_000)
    wrong = os.stat_result((stat.S_IFREG, *[0] * 5, said, *[0] * 3))
    monkeypatch.setattr(Path, "stat", lambda *_, **__: wrong)
    assert read_text(tmp_path / "long.txt", 3_000_000) == "1" * 2_500_000
    if said <= 2_000_000:
        with pytest.raises(ValueError, match="more than the 2000000 that are read"):
            read_text(tmp_path / "long.txt", 2_000_000)


def test_a_small_file_takes_no_more_memory_than_it_has(tmp_path):
    """A read of so many bytes at most reserves them all at once, a gigabyte for the smallest JSON."""
    (tmp_path / "small.json").write_text("[1, 2]")
    tracemalloc.start()
    try:
        assert read_json(tmp_path / "small.json") == [1, 2]
        assert tracemalloc.get_traced_memory()[1] < 10**6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("read", [read_json, read_text])
def test_what_has_no_end_is_not_opened(tmp_path, read):
    (tmp_path / "zeros").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe")
    for name in ("zeros", "pipe"):
        with pytest.raises(FileNotFoundError, match=f"{name} is not a file"):
            read(tmp_path / name)


def test_an_annotation_file_without_an_end_is_a_fault(tmp_path):
    (tmp_path / "a.xml").symlink_to("/dev/zero")
    assert parse(tmp_path / "a.xml").fault == "annotation files cannot be opened"


def test_a_text_has_neither_mark_nor_other_ends_of_lines(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfa\r\nb\rc\n")
    assert read_text(tmp_path / "a.txt") == "a\nb\nc\n"


def test_folder_appears_whole(tmp_path):
    with written_aside(tmp_path / "new" / "set") as aside:
        (aside / "a").write_text("1")
        assert not (tmp_path / "new" / "set").exists()
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["set"]
    assert (tmp_path / "new" / "set" / "a").read_text() == "1"


def write_half_a_folder(directory, interruption):
    with written_aside(directory) as aside:
        (aside / "new").write_text("2")
        raise interruption


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, OSError])
def test_interruption_leaves_the_old_folder_and_nothing_else(tmp_path, interruption):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "old").write_text("1")
    with pytest.raises(interruption):
        write_half_a_folder(tmp_path / "set", interruption)
    assert [p.name for p in tmp_path.iterdir()] == ["set"]
    assert [p.name for p in (tmp_path / "set").iterdir()] == ["old"]


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf"), np.float64("nan")])
def test_numbers_that_are_not_finite_become_null(number):
    text = json_text({"a": number, "b": [1.5, (number, "NaN")], "c": {"d": [{"e": number}]}})
    assert json.loads(text, parse_constant=pytest.fail) == {
        "a": None,
        "b": [1.5, [None, "NaN"]],
        "c": {"d": [{"e": None}]},
    }


def test_all_json_is_written_by_one_function():
    """`doctor` has to run where the data folder does not import."""
    own = {"data/files.py", "cli/doctor.py", "bench/grid/records.py"}  # the last tells conditions apart and writes none
    calls = {
        path.relative_to(ROOT).as_posix()
        for path in python_files()
        if re.search(r"\bjson\.dumps?\(|\bJSONEncoder\b|allow_nan=True", path.read_text(encoding="utf-8"))
    }
    assert calls == own


def test_a_folder_is_new_or_empty_or_somebodys(tmp_path):
    (tmp_path / "empty").mkdir()
    assert new_folder(tmp_path / "empty") == tmp_path / "empty"
    assert not new_folder(tmp_path / "absent").exists()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FileExistsError, match="file is a file; name a new or empty folder"):
        new_folder(tmp_path / "file")
    with pytest.raises(FileExistsError, match="holds files already, such as 'empty'; name a new or empty folder"):
        new_folder(tmp_path)


@pytest.mark.parametrize("was_on", [True, False])
def test_the_collector_is_as_it_was_after_a_pause(was_on):
    (gc.enable if was_on else gc.disable)()
    try:
        with pytest.raises(ValueError, match="is no JSON"), collector_paused():
            read_json(Path(__file__))
        with collector_paused():
            assert not gc.isenabled()
        assert gc.isenabled() == was_on
    finally:
        gc.enable()

"""Patterns and lists become the files that they mean, or one sentence."""

from pathlib import Path

import pytest

from detassign.engine.prediction import expanding
from detassign.engine.prediction.expanding import expanded


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Files in the working directory."""
    monkeypatch.chdir(tmp_path)
    for name in ("b.jpg", "a.jpg", "c.png", "in/d.jpg", "in/deep/e.jpg", "odd[1].jpg", "in/@home.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_patterns_are_what_they_match_by_name(files):
    assert expanded([Path("?.jpg"), Path("c.png")]) == [Path("a.jpg"), Path("b.jpg"), Path("c.png")]
    assert expanded([Path("**/*.jpg")])[-2:] == [Path("in/deep/e.jpg"), Path("odd[1].jpg")]
    assert expanded([files / "in" / "[a-d].jpg"]) == [files / "in" / "d.jpg"]


def test_a_path_that_exists_is_no_pattern_and_no_list(files):
    assert expanded([Path("odd[1].jpg")]) == [Path("odd[1].jpg")]
    (files / "@b.jpg").touch()
    assert expanded([Path("@b.jpg")]) == [Path("@b.jpg")]


def test_a_path_that_does_not_exist_is_left_to_who_reads_it(files):
    assert expanded([Path("z.jpg")]) == [Path("z.jpg")]


def test_a_list_names_paths_from_its_own_folder(files):
    (files / "in" / "list.txt").write_text(f"d.jpg\n\n# not this\n  deep \n{files / 'a.jpg'}\n@home.jpg\n")
    found = expanded([Path("@in/list.txt"), Path("c.png")])
    assert found == [Path("in/d.jpg"), Path("in/deep"), files / "a.jpg", Path("in/@home.jpg"), Path("c.png")]


def test_a_list_from_another_system_is_read(files):
    (files / "list.txt").write_bytes("\ufeffa.jpg\r\nb.jpg\r\n".encode())
    assert expanded([Path("@list.txt")]) == [Path("a.jpg"), Path("b.jpg")]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"a.jpg\nz.jpg\n", "list list.txt, line 2: z.jpg does not exist; paths are seen from the list's folder"),
        (b"\n# a.jpg\n", "list list.txt: names no file; expected a path a line"),
        (b"\xff\xd8\xff\xe0", "list list.txt is no text: byte 0 is not utf-8"),
        (b"a.jpg\0", "list list.txt is no text; expected a path a line"),
        (None, "list list.txt does not exist"),
        (b"a.jpg\n" * 20, "list list.txt has 120 bytes, more than the 100 that are read"),
    ],
)
def test_lists_that_do_not_work_are_one_sentence(content, sentence, files, monkeypatch):
    monkeypatch.setattr(expanding, "LONGEST_LIST", 100)
    if content is not None:
        (files / "list.txt").write_bytes(content)
    with pytest.raises((FileNotFoundError, ValueError)) as refused:
        expanded([Path("@list.txt")])
    assert str(refused.value) == sentence


def test_a_pattern_that_matches_nothing_is_named(files):
    with pytest.raises(FileNotFoundError, match=r"^no file matches in/\*\.tif$"):
        expanded([Path("in/*.tif")])

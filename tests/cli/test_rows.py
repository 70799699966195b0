"""Rows of a measurement are in its file as soon as they are there."""

import json
from dataclasses import asdict, dataclass

from detassign.cli.rows import keep_rows


@dataclass
class Row:
    name: str

    to_dict = asdict


def test_the_file_has_the_rows_so_far_and_what_was_left_out_meanwhile(tmp_path, capsys):
    out, absent, seen = tmp_path / "rows.json", [], []

    def measured():
        yield Row("first")
        seen.append(json.loads(out.read_text()))
        absent.append("second: not installed")
        yield Row("third")
        absent.append("fourth: no such model")

    rows = keep_rows(measured(), lambda row: f"{row.name} row", out, {"left_out": absent})
    assert seen == [{"left_out": [], "rows": [{"name": "first"}]}]
    assert [row.name for row in rows] == ["first", "third"]
    assert json.loads(out.read_text()) == {
        "left_out": ["second: not installed", "fourth: no such model"],
        "rows": [{"name": "first"}, {"name": "third"}],
    }
    assert capsys.readouterr().err == "first row\nthird row\n"


def test_without_rows_the_file_says_what_was_left_out(tmp_path):
    out = tmp_path / "rows.json"
    assert keep_rows([], str, out, {"left_out": ["mmdet: not installed"]}) == []
    assert json.loads(out.read_text()) == {"left_out": ["mmdet: not installed"], "rows": []}


def test_a_file_from_before_stays_until_there_is_a_row(tmp_path):
    out = tmp_path / "rows.json"
    out.write_text("of last week")

    def measured():
        assert out.read_text() == "of last week"
        yield Row("first")

    keep_rows(measured(), str, out, {})
    assert json.loads(out.read_text()) == {"rows": [{"name": "first"}]}

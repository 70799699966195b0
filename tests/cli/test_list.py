"""list on the command line: everything that can be named, and what goes with what."""

import json

import pytest

from detassign.assigners import ASSIGNERS, MATCHINGS, SCORES, WEIGHTINGS
from detassign.cli import main
from detassign.cli.list import COMPATIBILITY, SECTIONS, command
from detassign.engine import fragments


def run(*arguments):
    """Exit status of a command."""
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    return stopped.value.code


def listed(capsys, *sections):
    """What `list --json` prints."""
    assert run("list", *sections, "--json") == 0
    return json.loads(capsys.readouterr().out)


def test_without_a_section_all_are_listed(capsys):
    assert list(listed(capsys)) == [*SECTIONS, COMPATIBILITY]


def test_registered_names_are_listed_with_the_start_of_their_documentation(capsys):
    entries = listed(capsys, "matchings", "weightings", "scores")
    assert list(entries["matchings"]) == list(MATCHINGS)
    assert list(entries["weightings"]) == list(WEIGHTINGS)
    assert list(entries["scores"]) == list(SCORES)
    assert entries["weightings"]["dual"].startswith("DW's two weights")


def test_assigners_are_those_that_the_library_builds_by_name(capsys):
    names = listed(capsys, "assigners")["assigners"]
    assert list(names) == list(ASSIGNERS)
    assert {"dw_paper", "dw_softmax", "dw_top9", "fcos_dual"} <= set(names)


def test_everything_is_described(capsys):
    for section, entries in listed(capsys, *SECTIONS).items():
        assert entries, section
        assert all(text and "\n" not in text for text in entries.values()), section


def test_one_section_is_printed_as_a_table_of_its_names(capsys):
    assert run("list", "detectors") == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in fragments.names("detectors"))
    assert "matchings" not in shown


def test_compatibility_shows_the_matrix_and_the_reason_for_each_refusal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")  # so that no reason is folded
    assert run("list", "compatibility") == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in (*MATCHINGS, *WEIGHTINGS))
    reasons = {one["reason"] for one in listed(capsys, "compatibility")["compatibility"] if one["reason"]}
    assert reasons
    assert all(reason in shown for reason in reasons)


def test_unknown_section_suggests_the_nearest(capsys):
    assert run("list", "detector") == 1
    assert "unknown section 'detector'; did you mean 'detectors'" in capsys.readouterr().err


def test_help_names_every_section():
    assert all(section in command.help for section in (*SECTIONS, COMPATIBILITY))

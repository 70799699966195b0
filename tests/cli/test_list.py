"""list on the command line: everything that can be named, and what goes with what."""

import json

from support.command import run

from detassign.assigners import ASSIGNERS, MATCHINGS, SCORES, WEIGHTINGS
from detassign.cli.list import MATRIX, SECTIONS, command
from detassign.engine import fragments


def listed(capsys, *sections):
    """What `list --json` prints."""
    assert run("list", *sections, "--json") == 0
    return json.loads(capsys.readouterr().out)


def test_without_a_section_all_are_listed(capsys):
    assert list(listed(capsys)) == [*SECTIONS, MATRIX]


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


def test_detectors_are_grouped_by_family(capsys):
    assert run("list", "detectors") == 0
    shown = capsys.readouterr().out
    assert (
        shown.index("detectors: dino") < shown.index("dino_r18_tiny") < shown.index("detectors: dn_dab_deformable_detr")
    )


def test_the_matrix_fits_a_narrow_terminal_and_tells_a_reason_for_every_refusal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert run("list", "matrix") == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in (*MATCHINGS, *WEIGHTINGS, *SCORES))
    assert max(len(line) for line in shown.splitlines()) <= 80
    refused = [pair for pairs in listed(capsys, "matrix")["matrix"].values() for pair in pairs if pair["reason"]]
    assert refused
    words = " ".join(shown.split())
    for pair in refused:
        assert pair["reason"] in words
        assert pair["instead"], "something that works is named"


def test_unknown_section_suggests_the_nearest(capsys):
    assert run("list", "detector") == 1
    assert "unknown section 'detector'; did you mean 'detectors'" in capsys.readouterr().err


def test_help_names_every_section():
    assert all(section in command.help for section in (*SECTIONS, MATRIX))

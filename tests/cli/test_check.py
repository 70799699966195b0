"""The laws on the command line."""

import json

import pytest
from support.own_parts import NEAREST

from detassign.cli import main

pytestmark = pytest.mark.usefixtures("own_parts")
BROKEN = NEAREST.replace("[image, target].flatten()", "[image, target].flatten() * 0")


def run(*arguments):
    """Exit status of a command."""
    with pytest.raises(SystemExit) as stopped:
        main(["check", *map(str, arguments), "--seeds", "2"])
    return stopped.value.code


@pytest.fixture
def mine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(NEAREST)
    return tmp_path / "mine.py"


def test_everything_that_a_file_registers_is_held_to_every_law(mine, capsys):
    status = run("mine.py", "--json")
    outcomes = json.loads(capsys.readouterr().out)
    assert list(outcomes) == ["matching nearest"]
    broken = [outcome["law"] for outcome in outcomes["matching nearest"] if not outcome["holds"]]
    assert broken == ["invalid_samples_do_not_exist"]  # of which NEAREST knows nothing
    assert status == 1


def test_a_table_says_which_laws_hold_and_what_breaks_the_others(mine, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    mine.write_text(BROKEN)
    assert run("mine.py:nearest+focal") == 1
    shown = capsys.readouterr().out
    rows = {line.split("│")[1].strip(): line.split("│")[2].strip() for line in shown.splitlines() if "│" in line}
    assert rows["images in any order"] == "holds"
    assert rows["samples in any order"] == "BROKEN"
    assert "The order of a level's samples changes the order of the answer and nothing else." in shown
    assert "another order of samples changes the answer" in shown


def test_what_cannot_be_checked_is_named(mine, capsys):
    mine.write_text(
        NEAREST.replace("k=1", "k") + "from detassign.assigners import BRANCHES, SCORES, Sigmoid\n"
        "SCORES.register('own_sigmoid')(type('Own', (Sigmoid,), {}))\nBRANCHES.register('own')(type('Own', (), {}))\n"
    )
    run("mine.py", "--json")
    shown = capsys.readouterr()
    assert "matching nearest is not checked: matching 'nearest': expected the parameter 'k'" in shown.err
    assert "second branch own is not checked: no law speaks of its kind" in shown.err
    assert list(json.loads(shown.out)) == ["score model own_sigmoid"]


def test_an_assigner_that_keeps_all_laws_is_status_0_and_its_empty_batch_is_measured(capsys):
    assert run("dw", "atss+focal") == 0
    shown = capsys.readouterr().out
    assert "BROKEN" not in shown
    assert shown.count("with a new head's scores") == 2


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ("none.py", "import none.py: there is no such file"),
        ("empty.py", "empty.py: registers no assigner or part that a law can be tried on"),
        ("nearest", "'nearest' is no assigner; check a part as matching+weighting, or a file with its .py"),
        ("atss+dualx(gamma=1)", "unknown weighting 'dualx'; did you mean 'dual'"),
        ("atss+dualx", "unknown weighting 'dualx'; did you mean 'dual'"),
        ("dw(", "( is never closed"),
    ],
)
def test_a_mistake_is_one_sentence(mine, capsys, target, sentence):
    (mine.parent / "empty.py").write_text("")
    assert run(target) == 1
    shown = capsys.readouterr().err
    assert sentence in shown
    assert "Traceback" not in shown

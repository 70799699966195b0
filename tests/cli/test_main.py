"""The command line as a whole: help, mistakes, interruptions and how it is started."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import click
import pytest

from detassign import cli
from detassign.cli import COMMANDS, main


def run(*arguments):
    """Exit status of the command line."""
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    return stopped.value.code


@pytest.fixture
def command_that(monkeypatch):
    """Makes `doctor` do something else."""

    def replace(action):
        @click.command("doctor")
        def command():
            return action()

        monkeypatch.setattr("detassign.cli.doctor.command", command)

    return replace


def raising(error):
    def action(*arguments):
        raise error

    return action


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_every_command_shows_an_example(name, capsys):
    assert run(name, "--help") == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert lines[0].startswith(f"Usage: detassign {name}")
    assert [line for line in lines if line.startswith(f"detassign {name} ") or line == f"detassign {name}"]


@pytest.mark.parametrize("name", ["make", "check"])
def test_help_of_every_data_command_shows_an_example(name, capsys):
    assert run("data", name, "-h") == 0
    assert f"  detassign data {name} " in capsys.readouterr().out


def test_help_lists_every_command_whatever_ran_before(capsys):
    assert run("list", "schedules") == 0
    capsys.readouterr()
    assert run("--help") == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown and summary in shown for name, summary in COMMANDS.items())


def test_unknown_command_suggests_the_nearest(capsys):
    assert run("trian") == 2
    assert "unknown command 'trian'; did you mean 'train'" in capsys.readouterr().err


def test_unknown_option_is_refused_without_a_traceback(capsys):
    assert run("doctor", "--jsno") == 2
    said = capsys.readouterr().err
    assert "--jsno" in said
    assert "Traceback" not in said


def test_version_is_printed(capsys):
    assert run("--version") == 0
    assert "0.1.0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ValueError("size: expected a number,\n got none"), "size: expected a number, got none"),
        (FileNotFoundError("config x.json does not exist"), "config x.json does not exist"),
        (OSError(28, "No space left on device", "runs/a"), "runs/a: No space left on device"),
        (ImportError("No module named 'mmdet'"), "No module named 'mmdet'"),
        (ValueError(), "ValueError"),
    ],
)
def test_mistakes_are_one_sentence_and_exit_status_1(error, sentence, command_that, capsys, monkeypatch):
    monkeypatch.delenv("DETASSIGN_TRACEBACK", raising=False)
    command_that(raising(error))
    assert run("doctor") == 1
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", f"detassign: {sentence}\n")


def test_the_traceback_is_there_for_those_who_ask(command_that, monkeypatch):
    monkeypatch.setenv("DETASSIGN_TRACEBACK", "1")
    command_that(raising(ValueError("asked for")))
    with pytest.raises(ValueError, match="asked for"):
        main(["doctor"])


def test_a_bug_is_not_taken_for_a_mistake(command_that):
    command_that(raising(TypeError("a bug")))
    with pytest.raises(TypeError, match="a bug"):
        main(["doctor"])


def test_ctrl_c_is_one_sentence_and_exit_status_130(command_that, capsys):
    command_that(raising(KeyboardInterrupt()))
    assert run("doctor") == 130
    assert capsys.readouterr().err.strip().endswith("detassign: interrupted; what was finished is kept")


def test_a_warning_is_one_line(command_that):
    said = []
    command_that(lambda: said.append(warnings.formatwarning("something is odd", UserWarning, "file.py", 3)))
    assert run("doctor") == 0
    assert said == ["detassign: warning: something is odd\n"]
    assert "file.py" in warnings.formatwarning("something is odd", UserWarning, "file.py", 3)  # the caller's is back


@pytest.mark.parametrize("status", [0, 1, 3])
def test_a_command_may_return_its_exit_status(status, command_that):
    command_that(lambda: status)
    assert run("doctor") == status


def test_without_click_one_sentence_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "click", None)
    status = run("--help")
    assert status == "detassign: the command line needs more packages; install them with: pip install 'detassign[full]'"


def test_help_imports_no_command(monkeypatch):
    monkeypatch.setattr(cli.importlib, "import_module", raising(AssertionError))
    assert run("--help") == 0


def test_the_module_runs_as_a_program():
    result = subprocess.run([sys.executable, "-m", "detassign.cli", "doctr"], capture_output=True, text=True)
    assert result.returncode == 2
    assert "did you mean 'doctor'" in result.stderr
    assert "Traceback" not in result.stderr


HUGE_PAGES = """
import torch
from detassign.cli import main
try:
    main(["list", "schedules"])
except SystemExit:
    large = torch.empty(1 << 26, dtype=torch.uint8)
place = large.data_ptr() + (1 << 25)
for line in open("/proc/self/smaps"):
    if "-" in line.split()[0]:
        begin, end = (int(bound, 16) for bound in line.split()[0].split("-"))
    elif line.startswith("VmFlags") and begin <= place < end:
        print("advised:", "hg" in line.split())
"""


@pytest.mark.skipif(not Path("/sys/kernel/mm/transparent_hugepage").exists(), reason="this kernel has no huge pages")
@pytest.mark.parametrize(("chosen", "advised"), [({}, True), ({"THP_MEM_ALLOC_ENABLE": "0"}, False)])
def test_large_tensors_are_given_huge_pages(chosen, advised):
    """Unless whoever starts a command has chosen otherwise."""
    usual = {name: value for name, value in os.environ.items() if name != "THP_MEM_ALLOC_ENABLE"}
    words = [sys.executable, "-W", "ignore", "-c", HUGE_PAGES]
    done = subprocess.run(words, capture_output=True, text=True, env=usual | chosen)
    assert f"advised: {advised}" in done.stdout, done.stderr


def test_letters_that_the_terminals_encoding_lacks_are_written_as_codes():
    """And no sentence can steer the terminal."""
    words = [sys.executable, "-c", "from detassign.cli import main; main()", "data", "check", "图\x1b[2J"]
    ascii_only = {**os.environ, "PYTHONIOENCODING": "ascii:strict"}
    done = subprocess.run(words, capture_output=True, check=False, env=ascii_only)
    assert done.returncode == 1
    assert done.stderr.isascii()
    assert rb"'\u56fe\x1b[2J'" in done.stderr
    assert b"Traceback" not in done.stderr


def test_help_waits_for_no_torch():
    code = "import sys; from detassign.cli import main\ntry:\n    main(['--help'])\n"
    code += "except SystemExit:\n    print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.endswith("False\n"), result.stderr

"""The script for a machine with a GPU, run with an interpreter that does nothing but note what it is asked."""

import os
import subprocess
from pathlib import Path

from detassign.cli.bench import command

ROOT = Path(__file__).resolve().parents[2]
PYTHON = """#!/bin/sh
[ "$2" = "import mmdet" ] && exit {absent}
[ "$1" = -m ] && echo "$@" >> "{notes}"
exit 0
"""


def asked_of(folder, absent=0):
    """What the modules are asked that the script runs, each a list of words."""
    python, notes = folder / "python", folder / "notes"
    python.write_text(PYTHON.format(notes=notes, absent=absent))
    python.chmod(0o755)
    surroundings = {**os.environ, "PYTHON": str(python), "OUT": str(folder / "ops.json")}
    done = subprocess.run(
        ["sh", ROOT / "bench" / "gpu_check.sh"], env=surroundings, capture_output=True, text=True, check=True
    )
    assert ("left out" in done.stderr) == bool(absent)
    lines = [line.split()[1:] for line in notes.read_text().splitlines()]
    assert [line[0] for line in lines[:2]] == ["pytest", "detassign.cli"]
    return lines


def test_tests_are_files_and_measurements_are_what_the_commands_take(tmp_path):
    """All kinds of measurement are written to files of their own, in one folder."""
    tests, *measurements = asked_of(tmp_path)
    assert all((ROOT / file).is_file() for file in tests[1:])
    taken = []
    for _, group, name, *options in measurements:
        assert group == "bench"
        taken.append(command.commands[name].make_context(name, options).params)
    assert [chosen["device"] for chosen in taken] == ["cuda"] * 5
    steps = [(chosen["precision"], chosen["batch_size"], chosen["size"]) for chosen in taken[1:]]
    assert steps == [(p, b, "800x1066") for p in ("float32", "bfloat16") for b in (2, 8)]
    assert {chosen["out"].parent for chosen in taken} == {tmp_path}
    assert len({chosen["out"] for chosen in taken}) == 5


def test_without_mmdet_the_ops_alone_are_tested_and_measured(tmp_path):
    tests, *measurements = asked_of(tmp_path, absent=1)
    assert tests[1:]
    assert {Path(file).parts[1] for file in tests[1:]} == {"ops", "bench"}
    assert [words[1:3] for words in measurements] == [["bench", "ops"]]

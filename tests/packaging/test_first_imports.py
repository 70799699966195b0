"""Every module can be the first of the package that a program imports."""

import json
import subprocess
import sys
from pathlib import Path

from support.package import module_name, python_files


def modules():
    """Dotted names of all but `__main__`, which runs the command line."""
    return sorted(module_name(path) for path in python_files() if path.stem != "__main__")


def test_the_modules_are_found():
    assert {
        "detassign",
        "detassign.assigners",
        "detassign.engine.datasets",
        "detassign.configs.detectors.fcos_tiny",
    } <= set(modules())


def test_every_module_can_be_imported_first():
    program = Path(__file__).with_name("first_imports.py")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", program, *modules(), "detassign.nothing"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    failures = dict(json.loads(line) for line in done.stdout.splitlines())
    assert failures.pop("detassign.nothing") == "ModuleNotFoundError: No module named 'detassign.nothing'"
    assert failures == {}


def test_a_reader_of_data_is_imported_first_in_a_fresh_process():
    code = "import detassign.engine.datasets; from detassign.compat import mmcv_flavour; print(mmcv_flavour())"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in ("lite", "full")

"""The address at which users find the laws."""

import subprocess
import sys

import detassign.testing as testing
from detassign.assigners import laws


def test_it_holds_what_is_needed_to_check_an_assigner():
    assert testing.__all__ == ["LAWS", "Broken", "Law", "Outcome", "check_assigner", "left_out", "specs_around"]
    assert all(getattr(testing, name) is getattr(laws, name) for name in testing.__all__)


def test_it_needs_no_more_than_the_assigners_do():
    code = "import sys, detassign.testing; print(sorted({'mmdet', 'hypothesis', 'pytest', 'click'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr

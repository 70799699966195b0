"""Running code under the instruction sets that the CPU kernels are compiled for."""

import os
import subprocess
import sys
from pathlib import Path

CAPABILITIES = ("default", "avx2", "avx512")


def run_under(capability: str, code: str) -> None:
    """Run code that may import the tests of the ops; fail with what it says.

    Torch and the kernels read ATEN_CPU_CAPABILITY when they start; what a processor lacks, they do not use.
    """
    tests = Path(__file__).parent.parent
    paths = os.pathsep.join((str(tests / "ops"), str(tests), os.environ.get("PYTHONPATH", "")))
    environment = os.environ | {"ATEN_CPU_CAPABILITY": capability, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr

"""Whether one wheel serves other releases of torch: the op tests on it, unbuilt, in a throw-away environment each.

    python tests/packaging/abi.py WHEEL FOLDER torch==2.13.0 torch

``make abi-check`` builds the wheel and calls this. An environment has torch, numpy, scipy and pytest, nothing else.
"""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
BESIDE_TORCH = ("numpy", "scipy", "pytest")
WHERE = """
import torch, detassign.ops as ops
status = ops.extension_status()["cpu"]
print(f"torch {torch.__version__} with {ops._C.__file__}" if status.loaded else status.error)
raise SystemExit(not status.loaded)
"""


def environment(folder: Path, requirement: str, wheel: Path) -> Path | None:
    """The interpreter of a new environment, or None where something could not be installed."""
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
    python = folder / "bin" / "python"
    install = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    for wanted in ((requirement, *BESIDE_TORCH), ("--no-deps", wheel)):
        if subprocess.run([*install, *wanted]).returncode:
            return None
    return python


def serves(wheel: Path, folder: Path, requirement: str) -> bool:
    """Whether the wheel's kernels load under that torch and its op tests pass. The environment is removed."""
    place = folder / requirement
    try:
        print(f"== {requirement}", flush=True)
        python = environment(place, requirement, wheel)
        if python is None:
            print(f"{requirement} or what is tested with it could not be installed here, so nothing was tested.")
            return False
        tests = (python, "-m", "pytest", "-p", "no:cacheprovider", "tests/ops")
        return not any(subprocess.run(run, cwd=ROOT).returncode for run in ((python, "-c", WHERE), tests))
    finally:
        shutil.rmtree(place, ignore_errors=True)


def main(wheel: str, folder: str, *requirements: str) -> int:
    outcomes = {name: serves(Path(wheel).absolute(), Path(folder).absolute(), name) for name in requirements}
    for requirement, served in outcomes.items():
        print(f"{Path(wheel).name} under {requirement}: {'passed' if served else 'FAILED'}")
    return 0 if outcomes and all(outcomes.values()) else 1


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))

"""The source distribution, and the wheel built from it alone; ``make dist`` has those in ``DETASSIGN_DIST`` checked."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from support.package import FOLDERS, ROOT, installed, python_files

needs_compiler = pytest.mark.skipif(
    shutil.which("c++") is None, reason="there is no C++ compiler to build kernels with"
)
PAGES = (".html", ".css", ".js")


def build(kind: str, source: Path, destination: Path, first: str = "", **environment: str) -> Path:
    code = f"{first}\nfrom setuptools import build_meta; print(build_meta.build_{kind}({str(destination)!r}))"
    environment = os.environ | {"DETASSIGN_CUDA": "0"} | environment
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=source, env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return destination / result.stdout.splitlines()[-1]


def found(pattern: str) -> Path | None:
    folder = os.environ.get("DETASSIGN_DIST")
    return next(Path(folder).absolute().glob(pattern)) if folder else None


@pytest.fixture(scope="module")
def sdist(tmp_path_factory) -> Path:
    return found("*.tar.gz") or build("sdist", ROOT, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory) -> Path:
    if ready := found("*.whl"):
        return ready
    unpacked = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(unpacked, filter="data")
    return build("wheel", next(unpacked.iterdir()), tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def sdist_names(sdist) -> set[str]:
    with tarfile.open(sdist) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


@pytest.fixture(scope="module")
def wheel_names(wheel) -> set[str]:
    return set(zipfile.ZipFile(wheel).namelist())


@pytest.fixture(scope="module")
def source_names() -> set[str]:
    """Every module and every C++ and CUDA source, as paths from the root; listed before anything is built."""
    sources = (path for path in (ROOT / "csrc").rglob("*") if path.is_file())
    return {path.relative_to(ROOT).as_posix() for path in (*python_files(), *sources)}


def test_sdist_holds_every_source_and_what_builds_and_tests_it(source_names, sdist_names):
    assert source_names <= sdist_names
    assert {"setup.py", "pyproject.toml", "Makefile", "requirements/runtime.txt"} <= sdist_names
    assert "tests/packaging/test_distribution.py" in sdist_names


def test_sdist_holds_nothing_built(sdist_names):
    assert not [
        name for name in sdist_names if name.endswith((".so", ".pyc", ".o")) or name.startswith(("build", "runs"))
    ]


def test_wheel_holds_the_modules_under_one_name_and_no_sources_or_tests(sdist_names, wheel_names):
    modules = {name for name in sdist_names if name.endswith(".py") and name.split("/")[0] in FOLDERS}
    assert set(map(installed, modules)) <= wheel_names
    tops = {name.split("/")[0] for name in wheel_names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"detassign"}
    assert not [name for name in wheel_names if name.endswith((".cpp", ".cu", ".h")) or "/tests/" in name]


def test_wheel_has_a_root_that_says_it_is_typed(wheel_names):
    assert {"detassign/__init__.py", "detassign/__main__.py", "detassign/py.typed"} <= wheel_names
    assert not [name for name in wheel_names if name.startswith("detassign/api")]


def test_what_pages_are_made_of_travels_with_the_modules(sdist_names, wheel_names):
    parts = {path.relative_to(ROOT).as_posix() for path in (ROOT / "evidence").rglob("*.*") if path.suffix in PAGES}
    assert len(parts) >= 3
    assert parts <= sdist_names
    assert {f"detassign/{name}" for name in parts} <= wheel_names


@needs_compiler
def test_wheel_serves_every_python_from_3_10_on(wheel, wheel_names):
    assert "-cp310-abi3-" in wheel.name
    assert "detassign/ops/_C.abi3.so" in wheel_names


@pytest.mark.parametrize(
    "lacking",
    [{"first": "import sys; sys.modules['torch'] = None"}, {"PATH": "/nowhere"}],
    ids=["without torch", "without a compiler"],
)
def test_a_wheel_without_kernels_is_pure_and_says_so(lacking, sdist, tmp_path):
    """As pip builds one in isolation from what is installed, or where no compiler is."""
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    pure = build("wheel", next(tmp_path.iterdir()), tmp_path / "wheel", **lacking)
    assert pure.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(pure) as archive:
        names = archive.namelist()
        (facts,) = [archive.read(name).decode() for name in names if name.endswith(".dist-info/WHEEL")]
    assert "Root-Is-Purelib: true" in facts
    assert "Tag: py3-none-any" in facts
    assert "detassign/ops/sample_maps.py" in names
    assert not [name for name in names if name.endswith((".so", ".pyd"))]


def test_wheel_declares_license_command_and_a_base_of_torch_and_scipy(wheel):
    with zipfile.ZipFile(wheel) as archive:
        read = {Path(name).name: archive.read(name).decode() for name in archive.namelist() if ".dist-info/" in name}
    needs = [line for line in read["METADATA"].splitlines() if line.startswith("Requires-Dist") and "extra" not in line]
    assert needs == ["Requires-Dist: torch>=2.10", "Requires-Dist: scipy"]
    assert "License-Expression: Apache-2.0" in read["METADATA"]
    assert "detassign = detassign.cli:main" in read["entry_points.txt"]


@needs_compiler
def test_unpacked_wheel_imports_with_its_own_kernels(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = "import detassign.ops as ops; print(ops.__file__, ops._C.__file__)"
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    folder = tmp_path / "detassign" / "ops"
    assert result.stdout.split() == [str(folder / "__init__.py"), str(folder / "_C.abi3.so")], result.stderr

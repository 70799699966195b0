"""The root of the package: light to import, and it knows what it offers."""

import subprocess
import sys

import pytest

import detassign


def run(*arguments):
    done = subprocess.run([sys.executable, "-W", "ignore", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_it_loads_nothing_but_itself():
    code = "import sys; before = {*sys.modules}; import detassign; print(*{*sys.modules} - before)"
    loaded = {name.partition(".")[0] for name in run("-c", code).split()}
    assert "detassign" in loaded
    assert loaded <= {"detassign", *sys.stdlib_module_names}
    assert not loaded & {"asyncio", "email", "importlib.metadata", "unittest"}


def test_the_assigners_need_torch_and_scipy_alone():
    code = """
import importlib.metadata as metadata, sys
import detassign.assigners
tops = {name.partition(".")[0] for name in sys.modules} - {*sys.stdlib_module_names}
print(*tops & {"mmdet", "mmengine", "mmcv", "torchvision", "click", "rich", "matplotlib", "PIL", "pycocotools", "cv2"})
"""
    assert run("-c", code).split() == []


@pytest.mark.parametrize("name", detassign.__all__)
def test_what_is_offered_is_there(name):
    assert getattr(detassign, name)
    assert name in dir(detassign)


def test_the_version_is_the_installed_one():
    from importlib.metadata import version

    assert detassign.__version__ == version("detassign")


def test_what_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'detassign' has no attribute 'nothing'"):
        detassign.nothing  # noqa: B018


def test_the_package_runs_as_the_command():
    assert run("-m", "detassign", "--version") == run("-m", "detassign.cli", "--version")

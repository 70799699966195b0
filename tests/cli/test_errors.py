"""Errors: a user's mistake and a broken environment are one sentence, a bug keeps its traceback."""

import os
import signal
import subprocess
import sys

import pytest
import torch

from detassign.cli import errors, main


def caught(action):
    """An error with its traceback."""
    try:
        action()
    except Exception as error:
        return error
    pytest.fail("nothing was raised")


def raised(error):
    def action():
        raise error

    return caught(action)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("DataLoader worker (pid(s) 77) exited unexpectedly"), errors.WORKERS),
        (RuntimeError("DataLoader worker (pid 77) is killed by signal: Killed. "), errors.WORKERS),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error. out of shared memory"), errors.SHARED),
        (RuntimeError("unable to allocate shared memory(shm) for file </torch_1>"), errors.SHARED),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory"), errors.MEMORY),
        (MemoryError(), errors.MEMORY),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), errors.GPU_MEMORY),
        (RuntimeError("[enforce fail at inline_container.cc:603] PytorchStreamWriter failed"), errors.DISK),
        (RuntimeError("operator torchvision::nms does not exist"), errors.VISION),
        (NotImplementedError("Could not run 'torchvision::nms' with arguments from the 'CUDA' backend"), errors.VISION),
        (RuntimeError("Numpy is not available"), errors.NUMPY),
        (RuntimeError("CUDA error: no kernel image is available for execution on the device"), errors.DRIVER),
        (RuntimeError("Found no NVIDIA driver on your system."), errors.DRIVER),
        (RuntimeError("The server socket has failed to listen on any local network address."), errors.PORT),
        (OSError(24, "Too many open files"), "Too many open files"),
    ],
)
def test_what_is_no_bug_is_a_sentence(error, said):
    assert errors.sentence(raised(error)) == said


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"),
        RuntimeError("CUDA error: device-side assert triggered"),
        TypeError("f() takes 1 argument"),
        KeyError("boxes"),
        AttributeError("no such attribute"),
        AssertionError(),
    ],
)
def test_a_bug_is_none(error):
    assert errors.sentence(raised(error)) is None


def test_a_bug_in_a_module_of_ours_is_no_broken_environment(monkeypatch):
    namespace = {"__name__": "detassign.engine.new"}
    error = caught(lambda: exec(compile("{}['key']", "new.py", "exec"), namespace))
    assert errors.sentence(error) is None


BROKEN = {
    "torchvision": "raise RuntimeError('operator torchvision::nms does not exist')",
    "mmcv": "assert False, 'MMCV==2.9 is used but incompatible'",
    "pycocotools": "raise ImportError('libGL.so.1: cannot open shared object file')",
    "cv2": "import numpy; numpy.no_such_thing",
}


@pytest.mark.parametrize("package", BROKEN)
def test_a_broken_package_is_named_and_doctor_says_that_nothing_trains(package, tmp_path):
    """In a process of its own, where the package that does not import is found first."""
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text(BROKEN[package])
    paths = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    environment.pop("DETASSIGN_TRACEBACK", None)

    def run(*arguments):
        command = [sys.executable, "-m", "detassign.cli", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path)

    predicted = run("predict", "run", "picture.png")
    assert predicted.returncode == 1
    assert predicted.stderr.startswith(f"detassign: {package} does not import (")
    assert predicted.stderr.endswith("; 'detassign doctor' says more\n")
    examined = run("doctor")
    assert examined.returncode == 1, examined.stderr
    assert "so nothing trains" in examined.stdout


def test_a_package_that_is_not_installed_is_named_with_the_remedy():
    said = errors.sentence(caught(lambda: __import__("no_such_package")))
    assert said == f"No module named 'no_such_package'; {errors.INSTALL}"


def test_a_killed_data_worker_is_a_sentence(tiny_run, monkeypatch, tmp_path, capfd):
    """As the system kills one when memory runs out."""
    from detassign.engine.datasets import DetectionData

    whole = DetectionData.prepare_data

    def prepare(dataset, index):
        if torch.utils.data.get_worker_info() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return whole(dataset, index)

    monkeypatch.setattr(DetectionData, "prepare_data", prepare)
    folder = ["--work-dir", str(tmp_path / "r"), "--quiet"]
    with pytest.raises(SystemExit) as stopped:
        main(["train", str(tiny_run / "config.json"), "--set", "input.workers=1", *folder])
    assert stopped.value.code == 1
    assert capfd.readouterr().err.endswith(f"detassign: {errors.WORKERS}\n")


def test_output_that_nobody_reads_on_is_no_error():
    """As in `detassign list | head -1`."""
    command = f"{sys.executable} -m detassign.cli list recipes --json | head -c 1"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert result.stdout == "{"
    assert result.stderr == ""


def test_a_closed_standard_output_is_no_error():
    command = f"{sys.executable} -m detassign.cli list scores >&-"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert "Traceback" not in result.stderr
    assert result.returncode == 0

"""Files that the tests of a session share: an export takes seconds."""

import numpy as np
import pytest

from detassign.engine.export.export import Wish, export
from detassign.engine.train import find_run

LOW = 0.001  # a score that models which learned next to nothing reach


@pytest.fixture(scope="session")
def consent(tmp_path_factory):
    """What is exported for the whole session is trusted where tests keep what they agree to."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DETASSIGN_STATE", str(tmp_path_factory.getbasetemp() / "state"))
        yield


@pytest.fixture(scope="session")
def pictures():
    """Pictures of noise in three sizes, (H, W, 3) uint8."""
    random = np.random.default_rng(0)
    return [random.integers(0, 255, (*size, 3), dtype=np.uint8) for size in ((96, 96), (60, 90), (120, 80))]


@pytest.fixture(scope="session")
def onnx_run(tiny_run, tmp_path_factory, pictures):
    """An ONNX file of the tiny run, one image at a time, what it says of itself and how far it is from the run."""
    pytest.importorskip("onnxscript", reason="onnxscript, which torch writes ONNX with, is not installed")
    pytest.importorskip("onnxruntime", reason="onnxruntime, which runs ONNX, is not installed")
    path = tmp_path_factory.mktemp("onnx") / "tiny.onnx"
    return path, *export(*find_run(tiny_run), path, Wish("onnx", score=LOW), pictures)


@pytest.fixture(scope="session")
def torchscript_run(tiny_run, tmp_path_factory, pictures, consent):
    """The same as TorchScript, of any number of images."""
    path = tmp_path_factory.mktemp("torchscript") / "tiny.torchscript"
    return path, *export(*find_run(tiny_run), path, Wish("torchscript", batch=None, score=LOW), pictures)

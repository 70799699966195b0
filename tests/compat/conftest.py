"""mmdet and mmcv.ops import only once the stand-in is installed, so it is installed before the tests are collected.

mmcv is imported here too: where setuptools' distutils has not been imported, by mmcv, mmengine imports a deprecated one.
"""

import importlib

import pytest
import torch

from detassign.compat import install

install()
importlib.import_module("mmcv.ops")


@pytest.fixture(autouse=True)
def _one_thread():
    """Toy tensors gain nothing from threads, and lose much where other processes use the cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def model_types():
    """The types in the models of mmdet's configs; seconds."""
    from detassign.compat.op_coverage import model_types

    return model_types()


@pytest.fixture(scope="session")
def coverage():
    """mmcv's ops, what serves them and who needs them; seconds."""
    from detassign.compat.op_coverage import op_coverage

    return op_coverage()

import importlib.util
import sys

import mmcv.ops
import pytest
import torch
from mmcv.utils.ext_loader import check_ops_exist

import detassign.compat
from detassign.compat import install, mmcv_flavour

LITE = mmcv_flavour() == "lite"


def test_public_names_are_these():
    assert sorted(detassign.compat.__all__) == ["check_intact", "install", "is_state", "mmcv_flavour", "safe_load"]
    assert all(hasattr(detassign.compat, name) for name in detassign.compat.__all__)


def test_installing_again_changes_nothing():
    before = sys.modules["mmcv._ext"]
    install()
    assert sys.modules["mmcv._ext"] is before


def test_mmdet_imports():
    import mmdet.apis
    import mmdet.datasets
    import mmdet.engine
    import mmdet.evaluation
    import mmdet.models
    import mmdet.visualization

    assert mmdet.__version__


def test_importlib_and_mmcv_find_the_extension():
    assert importlib.util.find_spec("mmcv._ext") is not None
    assert check_ops_exist()


@pytest.mark.skipif(not LITE, reason="a full mmcv is installed, which has every op")
def test_an_op_not_served_names_itself_and_the_remedy():
    with pytest.raises(NotImplementedError, match=r"'nms_rotated'.*install a full mmcv built for this torch"):
        mmcv.ops.nms_rotated(torch.rand(2, 5), torch.rand(2), 0.5)


@pytest.mark.skipif(not LITE, reason="a full mmcv is installed, which knows its compiler")
def test_environment_report_says_that_nothing_was_compiled():
    assert "mmcv-lite" in mmcv.ops.get_compiler_version()
    assert "mmcv-lite" in mmcv.ops.get_compiling_cuda_version()


@pytest.mark.skipif(not LITE, reason="a full mmcv is installed")
def test_special_names_are_absent_from_the_stand_in():
    assert not hasattr(sys.modules["mmcv._ext"], "__path__")

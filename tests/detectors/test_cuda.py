"""Detectors on a real GPU, beside the same on the CPU; tests/detectors/test_gpu.py has a stand-in for one."""

from functools import partial

import pytest
import torch
from support.dense_detector import dense_detector
from support.query import detector
from support.steps import packed, step_of

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU is visible")
DETECTORS = {
    **{
        name: partial(detector, name, "none") for name in ("dino_4scale", "deformable_detr", "detr", "conditional_detr")
    },
    **{name: partial(dense_detector, name, 4) for name in ("dw", "atss", "tal_v8")},
}


@pytest.fixture(autouse=True)
def whole_float32(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)


@pytest.mark.parametrize("name", DETECTORS)
def test_losses_and_gradients_are_those_of_the_cpu(name):
    data = packed(3, 0, 2)
    wanted, found = step_of(DETECTORS[name](), data), step_of(DETECTORS[name]().cuda(), data)
    for one, other in zip(found, wanted, strict=True):
        assert one.keys() == other.keys()
        for key, value in one.items():
            assert value.is_cuda
            assert (value.cpu() - other[key]).norm() <= 1e-3 * other[key].norm() + 1e-6, key


@pytest.mark.parametrize("name", DETECTORS)
def test_detections_are_those_of_the_cpu(name):
    data = packed(3, 0, 2)
    with torch.no_grad():
        wanted, found = (model.eval().test_step(data) for model in (DETECTORS[name](), DETECTORS[name]().cuda()))
    for one, other in zip(found, wanted, strict=True):
        assert len(one.pred_instances) == len(other.pred_instances) > 0
        torch.testing.assert_close(one.pred_instances.scores.cpu(), other.pred_instances.scores, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", DETECTORS)
def test_losses_under_autocast_are_near(name, dtype):
    data = packed(3, 0, 2)
    wanted, _ = step_of(DETECTORS[name](), data)
    with torch.autocast("cuda", dtype):
        found, gradients = step_of(DETECTORS[name]().cuda(), data)
    assert all(gradient.isfinite().all() for gradient in gradients.values())
    whole = [sum(value.cpu() for value in losses.values()) for losses in (found, wanted)]
    assert whole[0] == pytest.approx(whole[1], rel=0.1)

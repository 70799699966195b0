"""The GPU's clock and name."""

import pytest
import torch

from detassign.bench import gpu
from detassign.bench.ceilings import measure_ceilings

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU is visible")


def test_the_gpus_clock_counts_its_own_work():
    """Eight passes over a tensor are more than one."""
    numbers = torch.zeros(2**28, device="cuda")
    once = gpu.seconds(lambda: numbers.add_(1))
    assert 0 < once < gpu.seconds(lambda: [numbers.add_(1) for _ in range(8)])


def test_the_gpu_has_ceilings_and_a_name():
    """Rates that any GPU exceeds."""
    found = measure_ceilings("cuda")
    assert found.bytes_per_second > 1e9
    assert found.multiply_adds_per_second > 1e9
    assert gpu.hardware()["device"]

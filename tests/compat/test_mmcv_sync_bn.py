import pytest
import torch
import torch.nn.functional as F
from mmcv.ops.sync_bn import SyncBatchNormFunction


def state(channels: int = 3) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    names = ("running_mean", "running_var", "weight", "bias")
    return {name: torch.rand(channels, generator=generator) + 0.5 for name in names}


def batch(*shape: int, dtype=torch.float32) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype).requires_grad_()


def normalise(input, state, mode="default"):
    """In one process, as the layer calls it."""
    return SyncBatchNormFunction.apply(input, *state.values(), 0.1, 1e-5, None, 1, mode)


@pytest.mark.parametrize("mode", ["default", "N"])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 3, 1, 2), (6, 3, 1)])
def test_one_process_has_the_outputs_statistics_and_gradients_of_batch_norm(shape, mode):
    ours, theirs = state(), state()
    for tensors in (ours, theirs):
        tensors["weight"].requires_grad_()
        tensors["bias"].requires_grad_()
    x = batch(*shape)
    output, expected = normalise(x, ours, mode), F.batch_norm(x, *theirs.values(), True, 0.1, 1e-5)
    torch.testing.assert_close(output, expected)
    for name in ("running_mean", "running_var"):
        torch.testing.assert_close(ours[name], theirs[name])
    upstream = torch.rand_like(output)
    gradients = torch.autograd.grad(output, (x, ours["weight"], ours["bias"]), upstream)
    expected = torch.autograd.grad(expected, (x, theirs["weight"], theirs["bias"]), upstream)
    torch.testing.assert_close(gradients, expected, rtol=1e-4, atol=1e-5)


def test_an_empty_batch_moves_nothing_and_has_gradients_of_zero():
    tensors, before = state(), state()
    tensors["weight"].requires_grad_()
    output = normalise(batch(0, 3, 4, 5), tensors, "N")
    output.sum().backward()
    assert output.shape == (0, 3, 4, 5)
    assert torch.equal(tensors["running_mean"], before["running_mean"])
    assert torch.equal(tensors["running_var"], before["running_var"])
    assert (tensors["weight"].grad == 0).all()


def test_half_precision_keeps_statistics_in_float32():
    tensors = state()
    x = batch(2, 3, 40, 50, dtype=torch.float16)
    output = normalise(x, tensors)
    output.sum().backward()
    assert output.dtype == x.grad.dtype == torch.float16
    assert tensors["running_var"].dtype == torch.float32
    expected = F.batch_norm(x.float(), *state().values(), True, 0.1, 1e-5)
    torch.testing.assert_close(output.float(), expected, rtol=1e-2, atol=1e-3)

"""The CUDA kernels of ms_deform_attn on the host, thread by thread: their arithmetic, indices and barriers, not a GPU's.

The kernels' own file is compiled by the C++ compiler against stand-ins for CUDA's names. The threads of a block run one
after another up to each barrier, in several orders; shared memory starts as junk and arrays lie between guards.
"""

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils.cpp_extension import include_paths

from detassign.ops import ms_deform_attn_reference

pytestmark = pytest.mark.skipif(
    shutil.which("c++") is None, reason="there is no C++ compiler to build the kernels with"
)

DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
TOLERANCE = {torch.float64: 1e-11, torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 2e-2}
GUARD = 64  # elements on either side of each array
SOURCE = Path(__file__).with_name("ms_deform_attn_on_host.cpp")


class Call(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int32) for name in ("scalar", "vectors", "order", "blocks")),
        ("sizes", ctypes.c_int64 * 7),
        *((name, ctypes.c_void_p) for name in ("value", "shapes", "starts", "locations", "weights")),
        *((name, ctypes.c_void_p) for name in ("output", "grad_value", "grad_locations", "grad_weights")),
    )


@pytest.fixture(scope="module")
def kernels(tmp_path_factory) -> ctypes.CDLL:
    library = tmp_path_factory.mktemp("cuda-on-host") / "ms_deform_attn.so"
    includes = [f"-I{path}" for path in include_paths()]
    flags = ["-O1", "-std=c++17", "-shared", "-fPIC", "-DTORCH_TARGET_VERSION=0x020a000000000000"]
    result = subprocess.run(["c++", *flags, *includes, SOURCE, "-o", library], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return ctypes.CDLL(str(library))


def guarded(tensor: Tensor) -> Tensor:
    """A copy with not-a-number on either side, its first element on a multiple of 16 bytes."""
    room = torch.full((tensor.numel() + 2 * GUARD,), float("nan"), dtype=tensor.dtype)
    assert room.data_ptr() % 16 == 0
    inside = room[GUARD:-GUARD].view(tensor.shape)
    return inside.copy_(tensor)


def assert_guards_stand(tensor: Tensor) -> None:
    room = tensor._base
    assert room[:GUARD].isnan().all()
    assert room[-GUARD:].isnan().all()


def run(kernels: ctypes.CDLL, name: str, inputs: tuple[Tensor, ...], vectors: bool, order: int, blocks: int, **given):
    value, shapes, starts, locations, weights = inputs
    B, S, H, D = value.shape
    Q, L, P = locations.shape[1], locations.shape[3], locations.shape[4]
    call = Call(DTYPES.index(value.dtype), vectors, order, blocks, (ctypes.c_int64 * 7)(B, S, H, D, Q, L, P))
    tensors = {"value": value, "shapes": shapes, "starts": starts, "locations": locations, "weights": weights} | given
    for field, tensor in tensors.items():
        setattr(call, field, tensor.data_ptr())
    function = getattr(kernels, f"{name}_on_host")
    function.restype = ctypes.c_char_p
    failure = function(ctypes.byref(call)).decode()
    assert not failure, failure


def attend(kernels, inputs, vectors=False, order=0, blocks=3) -> Tensor:
    value, locations = inputs[0], inputs[3]
    output = guarded(value.new_full((value.shape[0], locations.shape[1], value.shape[2] * value.shape[3]), 7.0))
    run(kernels, "run_forward", inputs, vectors, order, blocks, output=output)
    assert_guards_stand(output)
    return output


def differentiate(kernels, inputs, upstream, vectors=False, order=0, blocks=3) -> tuple[Tensor, Tensor, Tensor]:
    value, _, _, locations, weights = inputs
    gradients = [guarded(torch.zeros_like(value, dtype=locations.dtype))]
    gradients += [guarded(torch.full_like(tensor, 7.0)) for tensor in (locations, weights)]
    given = dict(zip(("grad_value", "grad_locations", "grad_weights"), gradients, strict=True))
    run(kernels, "run_backward", inputs, vectors, order, blocks, output=upstream, **given)
    for gradient in gradients:
        assert_guards_stand(gradient)
    return gradients[0].to(value.dtype), *gradients[1:]


def gather(kernels, inputs, upstream, vectors=False) -> Tensor:
    gradient = guarded(torch.full_like(inputs[0], 7.0))
    run(kernels, "run_gather", inputs, vectors, 0, 2, output=upstream, grad_value=gradient)
    assert_guards_stand(gradient)
    return gradient


def random_case(seed: int, dtype: torch.dtype, **sizes: int) -> tuple[tuple[Tensor, ...], Tensor]:
    """The five arguments, of any small sizes, with locations that reach well outside the maps, and a gradient."""
    generator = torch.Generator().manual_seed(seed)

    def size(name: str, most: int) -> int:
        drawn = int(torch.randint(1, most + 1, (), generator=generator))
        return sizes.get(name, drawn)

    B, Q, H, L, P = (size(name, most) for name, most in zip("BQHLP", (2, 20, 3, 4, 5), strict=True))
    D = sizes.get("D", (8, 16, 32, 24, 64, 40, 3, 1, 200, 320)[seed % 10])
    shapes = torch.randint(1, 7, (L, 2), generator=generator)
    starts = shapes.prod(1).cumsum(0) - shapes.prod(1)
    value = torch.randn(B, int(shapes.prod(1).sum()), H, D, generator=generator, dtype=torch.float64)
    locations = torch.rand(B, Q, H, L, P, 2, generator=generator, dtype=torch.float64) * 1.6 - 0.3
    weights = torch.rand(B, Q, H, L, P, generator=generator, dtype=torch.float64)
    upstream = torch.randn(B, Q, H * D, generator=generator, dtype=torch.float64)
    wide = torch.promote_types(dtype, torch.float32)
    arguments = (guarded(value.to(dtype)), shapes, starts, guarded(locations.to(wide)), guarded(weights.to(wide)))
    return arguments, guarded(upstream.to(dtype))


def expected(inputs, upstream) -> tuple[Tensor, ...]:
    value, shapes, starts, locations, weights = inputs
    leaves = [tensor.detach().clone().requires_grad_() for tensor in (value, locations, weights)]
    output = ms_deform_attn_reference(leaves[0], shapes, starts, *leaves[1:])
    return output.detach(), *torch.autograd.grad(output, leaves, upstream)


def widths(inputs) -> list[bool]:
    row = inputs[0].shape[3] * inputs[0].element_size()
    return [False, True] if row % 16 == 0 else [False]


def assert_all_equal_the_reference(kernels, inputs, upstream, order=0, blocks=3):
    tolerance = TOLERANCE[inputs[0].dtype]
    output, *gradients = expected(inputs, upstream)
    for vectors in widths(inputs):
        got = attend(kernels, inputs, vectors, order, blocks)
        torch.testing.assert_close(got, output, rtol=tolerance, atol=tolerance)
        found = differentiate(kernels, inputs, upstream, vectors, order, blocks)
        for one, other in zip(found, gradients, strict=True):
            torch.testing.assert_close(one, other, rtol=tolerance, atol=5 * tolerance)
        gathered = gather(kernels, inputs, upstream, vectors)
        torch.testing.assert_close(gathered, gradients[0], rtol=tolerance, atol=5 * tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
def test_kernels_equal_the_reference_at_any_sizes(kernels, dtype):
    for seed in range(10):
        assert_all_equal_the_reference(kernels, *random_case(seed, dtype), order=seed % 3, blocks=1 + seed % 4)


@pytest.mark.parametrize("D", [1, 7, 32, 36])
def test_points_beyond_a_blocks_shared_memory_are_taken_in_turns(kernels, D):
    case = random_case(3, torch.float32, L=9, P=31, D=D, Q=3, H=2)
    assert_all_equal_the_reference(kernels, *case, order=1)


@pytest.mark.parametrize("name", "BQHPD")
def test_a_dimension_of_zero_gives_zeros(kernels, name):
    inputs, upstream = random_case(3, torch.float32, **{name: 0})
    assert not attend(kernels, inputs).any()
    assert not any(gradient.any() for gradient in differentiate(kernels, inputs, upstream))
    assert not gather(kernels, inputs, upstream).any()


def test_no_values_give_zeros(kernels):
    (value, _, _, locations, weights), upstream = random_case(2, torch.float32, L=2)
    inputs = (value[:, :0].clone(), torch.tensor([[0, 4], [3, 0]]), torch.tensor([0, 0]), locations, weights)
    weights[0, 0, 0, 0] = float("inf")
    assert not attend(kernels, inputs).any()
    assert not any(gradient.any() for gradient in differentiate(kernels, inputs, upstream))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 1e30, -1e30, 5.0])
def test_a_sample_that_reaches_no_cell_adds_nothing_and_has_no_gradient(kernels, bad):
    """Not even where its weight, or the gradient of the output, is infinite."""
    inputs, upstream = random_case(2, torch.float32)
    _, _, _, locations, weights = inputs
    locations[0, 0, 0, 0, 0, 1], weights[0, 0, 0, 0, 0] = bad, float("inf")
    assert_all_equal_the_reference(kernels, inputs, upstream)
    upstream[0, 0] = float("inf")
    _, grad_locations, grad_weights = differentiate(kernels, inputs, upstream)
    assert grad_locations[0, 0, 0, 0, 0].tolist() == [0, 0]
    assert grad_weights[0, 0, 0, 0, 0] == 0


@pytest.mark.parametrize("starts", [[0, 0], [0, 8], [2, 14], [4, 0]], ids=["same", "overlap", "gaps", "swapped"])
def test_levels_may_share_values_or_leave_some_out(kernels, starts):
    (_, _, _, locations, weights), upstream = random_case(4, torch.float64, B=2, L=2, H=2, D=6)
    value = guarded(torch.randn(2, 20, 2, 6, dtype=torch.float64))
    inputs = (value, torch.tensor([[3, 4], [2, 2]]), torch.tensor(starts), locations, weights)
    assert_all_equal_the_reference(kernels, inputs, upstream)


def test_the_order_of_threads_changes_not_one_bit_of_what_has_one_writer(kernels):
    inputs, upstream = random_case(2, torch.float32, Q=40)
    outputs = [attend(kernels, inputs, True, order) for order in (0, 1, 2)]
    gradients = [differentiate(kernels, inputs, upstream, True, order)[1:] for order in (0, 1, 2)]
    assert torch.equal(outputs[0], outputs[1])
    assert torch.equal(outputs[0], outputs[2])
    for other in gradients[1:]:
        assert all(map(torch.equal, gradients[0], other))


def test_blocks_of_the_larger_size_equal_the_reference(kernels):
    """So many queries that a block has 256 threads rather than 64."""
    case = random_case(7, torch.float32, B=1, Q=2**17 + 5, H=2, L=1, P=1, D=1)
    assert_all_equal_the_reference(kernels, *case, blocks=100)

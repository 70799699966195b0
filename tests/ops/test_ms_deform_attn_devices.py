"""What attention owes on every device, against the float64 reference on the CPU; and what it owes on a GPU alone."""

import pytest
import torch
from torch import Tensor

from detassign.ops import extension_status, ms_deform_attn, ms_deform_attn_reference
from detassign.ops.ms_deform_attn import ms_deform_attn_backward

GIB = 2**30
TOLERANCE = {torch.float64: 1e-9, torch.float32: 2e-4, torch.float16: 2e-3, torch.bfloat16: 1e-2}


def obstacle(devices: int = 1, gibibytes: int = 0) -> str | None:
    """Why a test that needs GPUs cannot run here."""
    if torch.cuda.device_count() < devices:
        return "no GPU is visible" if devices == 1 else f"{devices} GPUs are not visible"
    if not extension_status()["cuda"].loaded:
        return f"the CUDA kernels are not loaded: {extension_status()['cuda'].error}"
    free = torch.cuda.mem_get_info()[0] if gibibytes else 0
    return f"the GPU has not {gibibytes} GiB free" if free < gibibytes * GIB else None


def gpu(**needs: int) -> pytest.MarkDecorator:
    reason = obstacle(**needs)
    return pytest.mark.skipif(reason is not None, reason=str(reason))


on_every_device = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=gpu())])


def random_case(seed: int, dtype: torch.dtype, device: str, **sizes: int) -> tuple[Tensor, ...]:
    """The five arguments, of any small sizes; locations reach outside the maps and keep off the gradient's kinks."""
    generator = torch.Generator().manual_seed(seed)
    names = {"B": 2, "Q": 50, "H": 4, "L": 4, "P": 6, "D": 70}
    drawn = {name: int(torch.randint(1, most + 1, (), generator=generator)) for name, most in names.items()}
    drawn["D"] = (16, 32, 64, 24, 8, 256, drawn["D"])[seed % 7]
    B, Q, H, L, P, D = (drawn | sizes).values()
    shapes = torch.randint(1, 9, (L, 2), generator=generator)
    starts = shapes.prod(1).cumsum(0) - shapes.prod(1)
    value = torch.randn(B, int(shapes.prod(1).sum()), H, D, generator=generator, dtype=torch.float64)
    sides = shapes.flip(1).view(L, 1, 2)
    cells = torch.rand(B, Q, H, L, P, 2, generator=generator, dtype=torch.float64) * (sides + 4) - 2.5
    locations = (cells.floor() + 0.02 + 0.96 * cells.frac().abs() + 0.5) / sides
    weights = torch.rand(B, Q, H, L, P, generator=generator, dtype=torch.float64)
    wide = torch.promote_types(dtype, torch.float32)
    leaves = (value.to(device, dtype), locations.to(device, wide), weights.to(device, wide))
    value, locations, weights = (leaf.requires_grad_() for leaf in leaves)
    return value, shapes.to(device), starts.to(device), locations, weights


def output_and_gradients(form, value, shapes, starts, locations, weights) -> tuple[Tensor, ...]:
    output = form(value, shapes, starts, locations, weights)
    upstream = torch.arange(output.numel()).remainder(7).sub(3).view_as(output)  # the same in every dtype
    return output, *torch.autograd.grad(output, (value, locations, weights), upstream.to(output))


def exact(case: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The same from the reference, in float64 on the CPU."""
    value, shapes, starts, locations, weights = (tensor.detach().cpu() for tensor in case)
    leaves = [tensor.double().requires_grad_() for tensor in (value, locations, weights)]
    return output_and_gradients(ms_deform_attn_reference, leaves[0], shapes, starts, *leaves[1:])


def assert_exact(got: tuple[Tensor, ...], case: tuple[Tensor, ...]) -> None:
    tolerance = TOLERANCE[case[0].dtype]
    for one, other in zip(got, exact(case), strict=True):
        torch.testing.assert_close(one.cpu().double(), other, rtol=tolerance, atol=tolerance)


@pytest.fixture
def deterministic():
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@on_every_device
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_kernel_equals_the_exact_result_at_any_sizes(device, dtype):
    for seed in range(60 if device == "cuda" else 6):
        case = random_case(seed, dtype, device)
        assert_exact(output_and_gradients(ms_deform_attn, *case), case)


@on_every_device
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 1e30, 5.0])
def test_a_sample_that_reaches_no_cell_adds_nothing_and_has_no_gradient(device, bad):
    """Not even where its weight, or the gradient of the output, is infinite."""
    case = random_case(2, torch.float32, device, Q=9, L=2, P=3)
    with torch.no_grad():
        case[3][0, 0, 0, 0, 0, 1], case[4][0, 0, 0, 0, 0] = bad, float("inf")
    got = output_and_gradients(ms_deform_attn, *case)
    assert_exact(got, case)
    upstream = torch.zeros_like(got[0])
    upstream[0, 0] = float("inf")
    _, grad_locations, grad_weights = ms_deform_attn_backward(upstream, *(tensor.detach() for tensor in case))
    assert grad_locations[0, 0, 0, 0, 0].tolist() == [0, 0]
    assert grad_weights[0, 0, 0, 0, 0] == 0


@on_every_device
@pytest.mark.parametrize("name", "BQHPD")
def test_a_dimension_of_zero_gives_zeros_and_empty_gradients(device, name):
    case = random_case(3, torch.float32, device, **{name: 0})
    output, *gradients = output_and_gradients(ms_deform_attn, *case)
    assert not output.any()
    assert [gradient.shape for gradient in gradients] == [case[0].shape, case[3].shape, case[4].shape]
    assert not any(gradient.any() for gradient in gradients)


@on_every_device
def test_no_values_give_zeros(device):
    value, _, _, locations, weights = random_case(2, torch.float32, device, L=2)
    empty = torch.tensor([[0, 4], [3, 0]], device=device)
    case = (value[:, :0].detach().requires_grad_(), empty, torch.tensor([0, 0], device=device), locations, weights)
    assert not any(tensor.any() for tensor in output_and_gradients(ms_deform_attn, *case))


@on_every_device
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_any_strides_and_any_first_element_give_the_same(device, dtype):
    value, shapes, starts, locations, weights = (
        tensor.detach() for tensor in random_case(1, dtype, device, B=2, Q=5, H=3)
    )
    expected = ms_deform_attn(value, shapes, starts, locations, weights)
    strided = (
        value.permute(3, 0, 2, 1).contiguous().permute(1, 3, 2, 0),
        shapes.t().contiguous().t(),
        torch.stack((starts, starts), dim=1)[:, 0],
        locations.transpose(1, 4).contiguous().transpose(1, 4),
        weights.transpose(0, 3).contiguous().transpose(0, 3),
    )
    assert not any(tensor.is_contiguous() for tensor in (strided[0], strided[3], strided[4]))
    assert torch.equal(ms_deform_attn(*strided), expected)
    shifted = [torch.cat((tensor.flatten()[:1], tensor.flatten()))[1:].view_as(tensor) for tensor in (value, locations)]
    assert all(tensor.is_contiguous() and tensor.storage_offset() == 1 for tensor in shifted)
    odd = (shifted[0].requires_grad_(), shapes, starts, shifted[1].requires_grad_(), weights.requires_grad_())
    assert_exact(output_and_gradients(ms_deform_attn, *odd), odd)


@on_every_device
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_changes_nothing(device, dtype):
    case = random_case(4, torch.float32, device)
    narrow = (case[0].to(dtype), *case[1:])
    expected, wide = ms_deform_attn(*narrow), ms_deform_attn(*case)
    with torch.autocast(device, dtype):
        assert torch.equal(ms_deform_attn(*narrow), expected)
        assert torch.equal(ms_deform_attn(*case), wide)


@gpu()
@pytest.mark.parametrize("sizes", [{}, {"Q": 0}, {"P": 0}], ids=["some", "no_queries", "no_points"])
def test_opcheck_finds_nothing_on_a_gpu(sizes):
    case = random_case(5, torch.float32, "cuda", **sizes)
    ops = torch.ops.detassign
    assert set(torch.library.opcheck(ops.ms_deform_attn.default, case).values()) == {"SUCCESS"}
    detached = tuple(tensor.detach() for tensor in case)
    backward = (ms_deform_attn(*detached), *detached, True)
    assert set(torch.library.opcheck(ops.ms_deform_attn_backward.default, backward).values()) == {"SUCCESS"}


@gpu()
@pytest.mark.parametrize("dynamic", [False, True])
def test_compiles_without_a_graph_break_on_a_gpu(dynamic):
    case = random_case(6, torch.float64, "cuda")
    form = torch.compile(lambda *args: ms_deform_attn(*args), fullgraph=True, backend="aot_eager", dynamic=dynamic)
    assert_exact(output_and_gradients(form, *case), case)


@gpu()
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_deterministic_algorithms_repeat_every_bit_and_equal_the_exact_result(deterministic, dtype):
    for seed in range(20):
        case = random_case(seed, dtype, "cuda", Q=700)  # many samples for each cell
        first, *others = (output_and_gradients(ms_deform_attn, *case) for _ in range(3))
        for other in others:
            assert all(map(torch.equal, first, other))
        if seed < 5:
            assert_exact(first, case)


@gpu()
def test_where_determinism_only_warns_it_is_given_without_a_warning():
    case = random_case(1, torch.float32, "cuda", Q=700)
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        first, second = (output_and_gradients(ms_deform_attn, *case) for _ in range(2))
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(map(torch.equal, first, second))


@gpu()
@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
@pytest.mark.parametrize("repeatable", [False, True])
def test_a_training_step_does_not_wait_for_the_gpu(repeatable):
    case = random_case(2, torch.float32, "cuda")
    torch.use_deterministic_algorithms(repeatable)
    torch.cuda.set_sync_debug_mode("error")
    try:
        output = ms_deform_attn(*case)
        gradients = torch.autograd.grad(output, (case[0], case[3], case[4]), torch.ones_like(output))
    finally:
        torch.cuda.set_sync_debug_mode("default")
        torch.use_deterministic_algorithms(False)
    assert all(gradient.isfinite().all() for gradient in gradients)


@gpu()
def test_kernels_run_on_the_current_stream():
    """Capturing a graph fails for what runs on another; the replay reads what the inputs hold by then."""
    arguments = tuple(tensor.detach() for tensor in random_case(3, torch.float32, "cuda"))
    upstream = torch.ones_like(ms_deform_attn(*arguments))
    ms_deform_attn_backward(upstream, *arguments)  # loads the kernel, which a capture must not
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = ms_deform_attn(*arguments)
        gradients = ms_deform_attn_backward(upstream, *arguments)
    arguments[0].mul_(2)
    graph.replay()
    torch.testing.assert_close(output, ms_deform_attn(*arguments))
    for got, want in zip(gradients, ms_deform_attn_backward(upstream, *arguments), strict=True):
        torch.testing.assert_close(got, want)


@gpu(devices=2)
def test_a_tensor_of_another_device_than_the_current_is_served():
    case = random_case(4, torch.float32, "cuda:1")
    assert torch.cuda.current_device() == 0
    assert_exact(output_and_gradients(ms_deform_attn, *case), case)


@gpu()
def test_levels_may_be_given_on_the_host():
    case = random_case(5, torch.float32, "cuda")
    on_host = (case[0], case[1].cpu().int(), case[2].cpu().int(), *case[3:])
    assert torch.equal(ms_deform_attn(*on_host), ms_deform_attn(*case))
    with pytest.raises(ValueError, match=r"^spatial_shapes and level_start_index must lie within"):
        ms_deform_attn(case[0], on_host[1] + 100, *on_host[2:])


@gpu()
@pytest.mark.parametrize(
    ("position", "change", "message"),
    [
        (0, lambda value: value[0], r"value of shape \(B, S, H, D\) but got"),
        (1, lambda shapes: shapes.cpu(), "spatial_shapes and level_start_index on the value's device"),
        (1, lambda shapes: shapes.int(), "spatial_shapes and level_start_index in int64"),
        (2, lambda starts: starts[:-1], r"level_start_index of shape \(2,\) but got"),
        (3, lambda locations: locations.double(), "in float32, or float64 where the value is"),
        (3, lambda locations: locations.cpu(), "sampling_locations and attention_weights on the value's device"),
        (4, lambda weights: weights[..., :-1], "less its last axis, but got"),
    ],
)
def test_raw_op_refuses_what_would_read_outside_memory_on_a_gpu(position, change, message):
    arguments = [tensor.detach() for tensor in random_case(6, torch.float32, "cuda", L=2, P=2)]
    arguments[position] = change(arguments[position])
    with pytest.raises(RuntimeError, match=message):
        torch.ops.detassign.ms_deform_attn(*arguments)


@gpu(gibibytes=28)
@pytest.mark.parametrize("repeatable", [False, True])
def test_more_than_two_thousand_million_channels_have_their_index(repeatable):
    S, H, D = 70_000, 32, 1024
    value = torch.zeros(1, S, H, D, dtype=torch.float16, device="cuda")
    value[0, -1, -1] = 1
    shapes, starts = torch.tensor([[S, 1]], device="cuda"), torch.tensor([0], device="cuda")
    locations = torch.full((1, 1, H, 1, 1, 2), 0.5, device="cuda")
    locations[..., 1] = (S - 0.5) / S  # the last cell's centre, but for a hundredth of a cell
    arguments = (value, shapes, starts, locations, torch.ones(1, 1, H, 1, 1, device="cuda"))
    output = ms_deform_attn(*arguments).view(H, D)
    torch.testing.assert_close(output[-1].float(), torch.ones(D, device="cuda"), rtol=0.02, atol=0)
    assert not output[:-1].any()
    torch.use_deterministic_algorithms(repeatable)
    try:
        gradient = ms_deform_attn_backward(torch.ones(1, 1, H * D, device="cuda").half(), *arguments)[0]
    finally:
        torch.use_deterministic_algorithms(False)
    torch.testing.assert_close(gradient[0, -1].float(), torch.ones(H, D, device="cuda"), rtol=0.02, atol=0)
    assert not gradient[0, :-2].any()


@gpu(gibibytes=16)
def test_more_than_two_thousand_million_locations_have_their_index():
    Q, H, P = 2**22 + 3, 8, 32
    value = torch.arange(12.0, device="cuda").view(1, 12, 1, 1).expand(1, 12, H, 1).contiguous()
    shapes, starts = torch.tensor([[3, 4]], device="cuda"), torch.tensor([0], device="cuda")
    locations = torch.full((1, Q, H, 1, P, 2), 9.0, device="cuda")
    locations[0, -1] = torch.tensor([(2 + 0.5) / 4, (1 + 0.5) / 3], device="cuda")
    output = ms_deform_attn(value, shapes, starts, locations, torch.ones(1, Q, H, 1, P, device="cuda"))
    torch.testing.assert_close(output[0, -1], torch.full((H,), 6.0 * P, device="cuda"))
    assert not output[0, :-1].any()

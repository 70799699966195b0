"""The kernel of dropout beside its reference; its law is tested with the layer that uses it."""

import pytest
import torch
from support.instruction_sets import CAPABILITIES, run_under

from detassign.ops import dropout, dropout_reference, extension_status
from detassign.ops.dropout import _draws

DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
COUNTS = [0, 1, 5, 255, 256, 257, 1000, 40_000]  # a block has 256, a task 32768
SEEDS = [0, 1, -1, 2**63 - 1, -(2**63), 2**63, 2**64 - 1]
FORMS = [dropout, dropout_reference]

compiled = pytest.mark.skipif(
    not extension_status()["cpu"].loaded, reason=f"the compiled op is not loaded: {extension_status()['cpu'].error}"
)


def equal_in_value_and_gradient(x, probability, seed):
    """Whether the kernel and the reference agree in every bit."""
    both = []
    for form in FORMS:
        leaf = x.clone().requires_grad_()
        value = form(leaf, probability, seed)
        both.append((value, *torch.autograd.grad(value, leaf, x)))
    return all(map(torch.equal, *both))


@compiled
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", COUNTS)
def test_kernel_equals_the_reference_in_every_bit(count, dtype):
    x = torch.randn(count, dtype=torch.float64).to(dtype)
    for seed in SEEDS:
        for probability in (0.0, 0.1, 0.5, 0.99999):
            assert equal_in_value_and_gradient(x, probability, seed)


@compiled
@pytest.mark.parametrize("capability", CAPABILITIES)
def test_every_instruction_set_equals_the_reference(capability):
    run_under(
        capability,
        "import torch, test_dropout as t\n"
        "for dtype in t.DTYPES:\n"
        "    for count in t.COUNTS:\n"
        "        x = torch.randn(count).to(dtype)\n"
        "        assert t.equal_in_value_and_gradient(x, 0.1, 3), (dtype, count)\n",
    )


def test_the_numbers_are_those_of_splitmix64():
    """The first words of seed 1234567, as they are published with the algorithm, sixteen bits at a time."""
    published = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    draws = _draws(20, 1234567, torch.device("cpu")).view(5, 4).tolist()
    assert [sum(part << 16 * place for place, part in enumerate(word)) for word in draws] == published


@pytest.mark.parametrize("form", FORMS)
def test_a_seed_is_its_64_bits(form):
    x = torch.ones(1000)
    assert torch.equal(form(x, 0.5, 2**64 - 1), form(x, 0.5, -1))
    assert torch.equal(form(x, 0.5, 2**63), form(x, 0.5, -(2**63)))


@pytest.mark.parametrize("form", FORMS)
def test_what_is_dropped_is_zero_whatever_it_was(form):
    dropped = form(torch.full((1000,), torch.nan), 0.5, 0)
    assert set(dropped.nan_to_num(1.0).tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("form", FORMS)
def test_zeros_follow_the_order_of_indices_and_not_of_memory(form):
    x = torch.rand(30, 40) + 1
    assert torch.equal(form(x.T.contiguous().T, 0.5, 0), form(x, 0.5, 0))


@pytest.mark.parametrize("form", FORMS)
def test_gradients_equal_finite_differences(form):
    x = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: form(x, 0.3, 1), x)
    assert torch.autograd.gradgradcheck(lambda x: form(x, 0.3, 1).square(), x)


def test_threads_do_not_change_one_bit():
    x, threads = torch.randn(200_001), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = dropout(x, 0.3, 7)
        torch.set_num_threads(4)
        assert torch.equal(dropout(x, 0.3, 7), alone)
    finally:
        torch.set_num_threads(threads)


@compiled
def test_opcheck_finds_nothing():
    x = torch.randn(3, 5, requires_grad=True)
    assert set(torch.library.opcheck(torch.ops.detassign.dropout.default, (x, 6554, 3)).values()) == {"SUCCESS"}


def test_compiles_without_a_graph_break():
    x = torch.randn(6, 7)
    squared = torch.compile(lambda x: dropout(x, 0.5, 2).square(), fullgraph=True, backend="aot_eager")
    assert torch.equal(squared(x), dropout(x, 0.5, 2).square())


def test_gradients_through_a_compiled_region_are_those_without_it():
    x = torch.randn(6, 7, requires_grad=True)
    compiled = torch.compile(lambda x: dropout(x, 0.5, 2).square(), fullgraph=True, backend="aot_eager")
    found, expected = (
        torch.autograd.grad(form(x).sum(), x)[0] for form in (compiled, lambda x: dropout(x, 0.5, 2).square())
    )
    assert torch.equal(found, expected)


@compiled
def test_vmap_says_what_to_do_instead():
    with pytest.raises(RuntimeError, match="dropout does not run under vmap; dropout_reference does"):
        torch.vmap(lambda x: dropout(x, 0.5, 0))(torch.ones(2, 3))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("x", "probability", "message"),
    [
        (torch.ones(3), 1.0, "probability to be at least 0 and below 1 but got 1.0"),
        (torch.ones(3), -0.1, "probability to be at least 0 and below 1 but got -0.1"),
        (torch.ones(3), float("nan"), "probability to be at least 0 and below 1 but got nan"),
        (torch.ones(3, dtype=torch.long), 0.5, "x to be floating point but got torch.int64"),
    ],
)
def test_bad_argument_is_named(form, x, probability, message):
    with pytest.raises(ValueError, match=message):
        form(x, probability, 0)


@compiled
@pytest.mark.parametrize("dropped", [-1, 65536])
def test_raw_op_refuses_a_share_that_is_none(dropped):
    with pytest.raises(RuntimeError, match="Expected dropped to be from 0 to 65535"):
        torch.ops.detassign.dropout(torch.ones(3), dropped, 0)

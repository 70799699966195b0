"""The ops benchmark: what is measured, its bookkeeping and its command; no times."""

import json
import re
from functools import partial

import pytest
import torch

from detassign.bench import comparison, ops
from detassign.bench.ceilings import Ceilings
from detassign.bench.comparison import BOTH, FORWARD, Comparison, Needs, Row
from detassign.cli import main


def test_medians_leave_the_first_run_out_and_take_turns():
    """Both forms are called in turn, once more than asked; only later times count."""
    calls, times = [], iter([100.0, 200.0, 1.0, 3.0, 2.0, 5.0])

    def clock(run):
        run()
        return next(times)

    found = comparison.medians(lambda: calls.append("ours"), lambda: calls.append("peer"), 2, clock)
    assert calls == ["ours", "peer"] * 3
    assert found == (1.5, 4.0)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_half_precision_is_of_ops_that_widen_nothing_and_some_stay_on_the_host(device):
    """The list for a GPU is the list for a CPU, less what has no kernel there and less the process's memory."""
    listed = ops.comparisons(["float32", "bfloat16"], device)
    host_alone = {"linear_assignment", "dropout"} if device == "cpu" else set()
    assert {one.op for one in listed if one.dtype == "bfloat16"} == {"ms_deform_attn"} | host_alone & {"dropout"}
    assert {one.op for one in listed} & {"linear_assignment", "dropout"} == host_alone
    assert any(one.memory for one in listed) == (device == "cpu")
    assert {one.op for one in listed} >= {"ms_deform_attn", "sample_maps", "deform_conv2d"}
    names = [(one.op, one.case, one.dtype, one.pass_, one.peer) for one in listed]
    assert len(set(names)) == len(names)


def test_both_forms_of_assignment_solve_the_same_problems():
    """Ours and scipy's pairs are the same."""
    ours, theirs = _answers(partial(ops.prepare_assignment, (3, 20, 5)), "kernel", "scipy")
    expected = {(k, r, c) for k, pairs in enumerate(theirs) for r, c in zip(*map(list, pairs), strict=True)}
    assert set(zip(*(axis.tolist() for axis in ours.pairs()), strict=True)) == expected


def test_both_forms_of_map_sampling_sample_the_same_maps():
    """Result and gradients agree with torchvision's."""
    ours, theirs = _answers(partial(ops.prepare_sampling, device="cpu"), "kernel", "torchvision")
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_both_forms_of_dropout_drop_their_share(dtype):
    """Zeros differ, of which either has a tenth; what is left is scaled alike, and has its scale for a gradient."""
    for value, grad in _answers(partial(ops.prepare_dropout, dtype=dtype), "kernel", "torch"):
        assert (value == 0).double().mean().item() == pytest.approx(0.1, abs=1e-3)
        assert torch.equal(grad == 0, value == 0)
        assert grad.max().item() == pytest.approx(1 / 0.9, rel=4e-3)


def _answers(prepare, *forms):
    """What each form answers, from equal random numbers."""
    answers = []
    for form in forms:
        torch.manual_seed(0)
        answers.append(prepare(form=form)())
    return answers


def test_one_pass_returns_the_result_and_the_gradients_of_its_sum():
    """Forward gives the product, forward + backward its gradients too."""
    left, right = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 5.0])
    assert torch.equal(comparison.one_pass(FORWARD, torch.mul, left, right)(), left * right)
    found = comparison.one_pass(BOTH, torch.mul, left, right)()
    assert [tensor.tolist() for tensor in found] == [[3.0, 10.0], [3.0, 5.0], [1.0, 2.0]]


def test_a_row_holds_the_medians_and_the_floor_of_what_is_needed():
    """The floor comes from the ceilings, both forms see the same random numbers, memory only where asked for."""
    seen = []

    def prepare():
        return partial(seen.append, torch.rand(()).item())

    plain = Comparison("op", "case", "float32", FORWARD, "peer", prepare, prepare)
    with_floor = Comparison("op", "case", "float32", BOTH, "peer", prepare, prepare, lambda: Needs(100, 5))

    def clock(run):
        run()
        return 2.0

    first, second = comparison.measure([plain, with_floor], Ceilings(100.0, 10.0), 1, clock)
    assert len(set(seen)) == 1
    assert (first.floor_seconds, first.share_of_floor, first.extra_bytes) == (None, None, None)
    assert (second.seconds, second.ratio, second.floor_seconds, second.share_of_floor) == (2.0, 1.0, 1.0, 0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--dtype", "int8"], "expected some of float32, bfloat16, float16, got 'int8'"),
        (["--device", "cuda"], "needs a GPU|kernels are not loaded"),
    ],
)
def test_what_cannot_be_measured_is_one_sentence(options, message, monkeypatch, capsys):
    """An unknown dtype and a missing GPU stop the command before anything is measured."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as stopped:
        main(["bench", "ops", *options])
    assert stopped.value.code in (1, 2)
    assert re.search(message, capsys.readouterr().err)


def test_the_command_prints_ratios_floors_and_memory_and_writes_json(tmp_path, monkeypatch, capsys):
    """What the rows hold is on the screen and in the file, with the ceilings of the machine."""
    row = Row("op", "case", "float32", FORWARD, "peer", 0.001, 0.012, 0.0005, 1_000_000, 20_000_000)
    monkeypatch.setattr("detassign.bench.comparison.measure", lambda *arguments: iter([row]))
    monkeypatch.setattr("detassign.bench.ceilings.measure_ceilings", lambda device: Ceilings(1e10, 3e10))
    with pytest.raises(SystemExit) as stopped:
        main(["bench", "ops", "--out", str(tmp_path / "ops.json")])
    assert stopped.value.code == 0
    printed = capsys.readouterr().out
    assert all(text in printed for text in ("op beside peer", "12.00", "50 %", "20.0", "10.0 GB/s copied"))
    written = json.loads((tmp_path / "ops.json").read_text())
    assert written["ceilings"] == {"bytes_per_second": 1e10, "multiply_adds_per_second": 3e10}
    assert written["rows"][0]["ratio"] == pytest.approx(12)
    assert written["rows"][0]["share_of_floor"] == pytest.approx(0.5)
    assert written["rows"][0]["peer_extra_bytes"] == 20_000_000

"""The ops benchmark: its shapes and its bookkeeping, no times."""

import json
import re

import pytest
import torch

from detassign.bench import gpu, ops
from detassign.cli import main


def test_attention_cases_have_the_shapes_of_their_detectors():
    queries = {}
    for name, (value, shapes, starts, locations, weights) in ops.attention_cases():
        queries[name] = locations.shape[1]
        assert value.shape == (1, int(shapes.prod(1).sum()), 8, 32)
        assert starts.tolist() == [0, *shapes.prod(1).cumsum(0)[:-1].tolist()]
        assert locations.shape == (1, queries[name], 8, len(shapes), 4, 2)
        torch.testing.assert_close(weights.sum((-1, -2)), torch.ones(1, queries[name], 8))
    assert sorted(queries.values()) == [300, 900, 17821, 17821]


def test_model_like_locations_lie_near_their_own_cell():
    _, shapes, _, locations, _ = ops.attention_inputs(((20, 30), (10, 15)), 20 * 30 + 10 * 15, model_like=True)
    own = torch.tensor([0.5 / 30, 0.5 / 20])
    cells = (locations[0, 0, :, 0] - own) * shapes[0].flip(0)
    assert cells.abs().mean() < 3


def test_medians_leave_the_first_run_out_and_take_turns():
    calls = []
    ops.medians(lambda: calls.append("ours"), lambda: calls.append("peer"), repeats=2)
    assert calls == ["ours", "peer"] * 3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_there_are_as_many_rows_as_announced_and_half_precision_is_named(dtype, monkeypatch):
    monkeypatch.setattr(ops, "medians", lambda *arguments: (1.0, 2.0))
    rows = list(ops.measure(dtype=dtype))
    assert len(rows) == ops.row_count("cpu", dtype)
    attention = [row for row in rows if row.op == "ms_deform_attn"]
    assert all(row.case.endswith(", bfloat16") == (dtype == torch.bfloat16) for row in attention)
    assert all(row.ratio == 2 and row.floor_seconds is None and row.share_of_floor is None for row in rows)


def test_a_rows_share_of_the_memorys_speed_is_floor_over_time():
    assert ops.Row("op", "case", "forward", "peer", 2.0, 8.0, 1.0).to_dict()["share_of_floor"] == 0.5


def test_rows_reached_are_the_neighbours_of_any_location():
    """One sample between four cells, one on the border of the second level, one outside."""
    value, shapes, starts = torch.zeros(1, 16, 1, 8), torch.tensor([[3, 4], [2, 2]]), torch.tensor([0, 12])
    locations = torch.full((1, 2, 1, 2, 1, 2), 9.0)
    locations[0, 0, 0, 0, 0], locations[0, 1, 0, 1, 0] = torch.tensor([0.5, 0.5]), torch.tensor([0.01, 0.5])
    assert gpu.rows_reached(value, shapes, starts, locations) == 4 + 2
    forward = 6 * 8 * 4 + 4 * 2 * 4 + 4 * 4 + 2 * 8 * 4  # rows, locations, weights, output
    weights = torch.zeros(1, 2, 1, 2, 1)
    assert gpu.attention_bytes((value, shapes, starts, locations, weights)) == forward
    backward = 6 * 8 * 4 + 2 * (4 * 2 * 4 + 4 * 4) + 2 * 8 * 4 + 16 * 8 * 4
    assert gpu.attention_bytes((value, shapes, starts, locations, weights), backward=True) == forward + backward


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU is visible")
def test_the_gpus_clock_counts_its_own_work():
    numbers = torch.zeros(2**28, device="cuda")
    once = gpu.seconds(lambda: numbers.add_(1))
    assert 0 < once < gpu.seconds(lambda: [numbers.add_(1) for _ in range(8)])
    assert gpu.copy_bandwidth() > 1e9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--dtype", "int8"], "expected float32, float16 or bfloat16, got 'int8'"),
        (["--device", "cuda"], "needs a GPU|kernels are not loaded"),
    ],
)
def test_what_cannot_be_measured_is_one_sentence(options, message, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as stopped:
        main(["bench", "ops", *options])
    assert stopped.value.code in (1, 2)
    assert re.search(message, capsys.readouterr().err)


def test_the_command_prints_ratios_and_writes_json(tmp_path, monkeypatch, capsys):
    row = ops.Row("op", "case", "forward", "peer", 0.001, 0.012)
    monkeypatch.setattr(ops, "measure", lambda repeats, device, dtype: iter([row]))
    with pytest.raises(SystemExit) as stopped:
        main(["bench", "ops", "--out", str(tmp_path / "ops.json")])
    assert stopped.value.code == 0
    assert "12.0" in capsys.readouterr().out
    assert json.loads((tmp_path / "ops.json").read_text())["rows"][0]["ratio"] == pytest.approx(12)

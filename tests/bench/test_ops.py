"""The ops benchmark: its shapes and its bookkeeping, no times."""

import json

import pytest
import torch

from detassign.bench import ops
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


def test_the_command_prints_ratios_and_writes_json(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ops, "measure", lambda repeats: iter([ops.Row("op", "case", "forward", "peer", 0.001, 0.012)]))
    with pytest.raises(SystemExit) as stopped:
        main(["bench", "ops", "--out", str(tmp_path / "ops.json")])
    assert stopped.value.code == 0
    assert "12.0" in capsys.readouterr().out
    assert json.loads((tmp_path / "ops.json").read_text())["rows"][0]["ratio"] == pytest.approx(12)

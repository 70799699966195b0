"""What the cells of a comparison are trained in: decided once, and kept where it goes on."""

import pytest
import torch

from detassign.bench.grid.plan import finished, write_record
from detassign.bench.grid.precision import decide
from detassign.bench.grid.records import digest, make_record, read_record
from detassign.engine import precision
from detassign.engine.config import CONFIG
from detassign.engine.files import write_json

SUMMARY = {"metrics": {"AP": 0.25}, "curve": [], "versions": {}}


@pytest.fixture
def config(rows):
    (config,) = rows("fcos").values()
    return config


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    """A machine that is twice as fast in bfloat16."""
    monkeypatch.setattr(precision, "rate", lambda device, dtype: 2.0 if dtype == torch.bfloat16 else 1.0)
    precision.fastest.cache_clear()
    yield
    precision.fastest.cache_clear()


def finish(cell, came_to):
    """Leave a record, as if the cell had been run."""
    write_record(cell, make_record(cell.labels, cell.conditions, {**SUMMARY, "precision": came_to}))


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("float32", "float32"),
        ("float16", "float16"),
        ("amp", "bfloat16"),
        ("auto", "bfloat16 (auto: cpu multiplies bfloat16 matrices 2.0 times as fast as float32)"),
    ],
)
def test_what_nobody_has_begun_is_decided_here(config, tmp_path, asked, told):
    assert str(decide({**config, "precision": asked}, [tmp_path], here=True)) == told


def test_what_has_begun_goes_on_as_it_is(config, rows, planned, tmp_path):
    """A run that is not over says it by its config, a finished cell by its record, also in a folder that is taken over."""
    (begun,) = planned(rows("fcos", precision="float32"), tmp_path / "begun")
    begun.folder.mkdir(parents=True)
    write_json(begun.config, begun.folder / CONFIG)
    (done,) = planned(rows("fcos", precision="bfloat16"), tmp_path / "done")
    finish(done, "bfloat16")
    auto, amp = ({**config, "precision": name} for name in ("auto", "amp"))
    assert str(decide(auto, [tmp_path / "begun"], here=True)) == "float32 (auto: as it began)"
    assert str(decide(auto, [tmp_path / "new", tmp_path / "done"], here=True)) == "bfloat16 (auto: as it began)"
    assert str(decide(amp, [tmp_path / "begun"], here=True)) == "bfloat16"


def test_cells_of_a_cluster_are_not_measured_for(config, rows, planned, tmp_path):
    auto, amp = ({**config, "precision": name} for name in ("auto", "amp"))
    with pytest.raises(ValueError, match="--precision auto: cells of a cluster run elsewhere than it measures"):
        decide(auto, [tmp_path], here=False)
    assert decide(amp, [tmp_path], here=False).name == "bfloat16"
    (done,) = planned(rows("fcos", precision="float16"), tmp_path)
    finish(done, "float16")
    assert {decide(each, [tmp_path], here=False).name for each in (auto, amp)} == {"float16"}


@pytest.mark.parametrize("left", ["amp", "auto"])
def test_an_older_record_is_of_the_precision_that_it_came_to(rows, planned, tmp_path, left):
    (older,) = planned(rows("fcos", precision=left), tmp_path)
    finish(older, "bfloat16")
    (cell,) = planned(rows("fcos", precision="bfloat16"), tmp_path)
    record = read_record(cell.record)
    assert record["conditions"] == cell.conditions
    assert record["conditions_sha256"] == cell.key == digest(cell.conditions)
    assert [*finished([cell], tmp_path)] == [cell]
    (other,) = planned(rows("fcos", precision="float32"), tmp_path)
    with pytest.raises(ValueError, match="precision is 'bfloat16' there and 'float32' here"):
        finished([other], tmp_path)


def test_a_run_that_an_older_comparison_began_goes_on(rows, planned, tmp_path):
    (older,) = planned(rows("fcos", precision="amp"), tmp_path)
    older.folder.mkdir(parents=True)
    write_json(older.config, older.folder / CONFIG)
    planned(rows("fcos", precision="bfloat16"), tmp_path)
    with pytest.raises(ValueError, match="precision is 'amp' there and 'float32' here"):
        planned(rows("fcos", precision="float32"), tmp_path)

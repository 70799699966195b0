"""A real, tiny grid whose processes are killed, and which then comes to what it would have come to."""

from pathlib import Path

from detassign.bench.grid import running
from detassign.bench.grid.locking import is_locked
from detassign.bench.grid.overview import Overview
from detassign.bench.grid.plan import finished
from detassign.bench.grid.running import Processes, run_cells
from detassign.engine.train import train

SAME = ("metrics", "steps", "positives_per_target", "effective_positives_per_target", "parameters", "best")


def test_a_grid_that_was_killed_goes_on_to_the_same_records(rows, planned, tmp_path, monkeypatch, capsys):
    cells = planned(rows("fcos", "dw", epochs=2), tmp_path / "grid")
    with monkeypatch.context() as patched:
        patched.setattr(running, "MODULE", "support.dying_cell")
        patched.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
        failed = run_cells(cells, tmp_path / "grid", Processes(2, ["cpu"]), Overview(cells, quiet=True), threads=1)
    assert [why.startswith("killed by SIGKILL") for why in failed.values()] == [True, True]
    assert not any(is_locked(cell.beside("lock")) for cell in cells)
    assert all((cell.folder / "epoch_1.pth").is_file() for cell in cells)

    assert run_cells(cells, tmp_path / "grid", Processes(2, ["cpu"]), Overview(cells), threads=1) == {}
    assert "fcos, seed 0: goes on after 1 of 2 steps" in capsys.readouterr().err
    for cell, record in finished(cells, tmp_path / "grid").items():
        whole = train(cell.config, tmp_path / cell.row.assigner, quiet=True)
        assert {name: record[name] for name in SAME} == {name: whole[name] for name in SAME}
        timeless = [[{**point, "train_seconds": 0} for point in one["curve"]] for one in (record, whole)]
        assert timeless[0] == timeless[1]

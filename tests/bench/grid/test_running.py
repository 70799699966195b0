"""Running cells: how many at a time, where, what becomes of those that fail or that others run. Nothing is trained."""

import json
import subprocess
import sys

import pytest

from detassign.bench.grid import cell as cell_module
from detassign.bench.grid import running
from detassign.bench.grid.cell import BUSY, Order, run
from detassign.bench.grid.locking import is_locked, locked
from detassign.bench.grid.overview import Overview, steps_done
from detassign.bench.grid.plan import write_record
from detassign.bench.grid.records import make_record, read_record
from detassign.bench.grid.running import Processes, order_of, run_cells, why_failed

SUMMARY = {"metrics": {"AP": 0.25}, "curve": [], "versions": {}}
HOLD = """
import sys
from pathlib import Path
from detassign.bench.grid.locking import locked
with locked(Path(sys.argv[1])) as mine:
    print(mine, flush=True)
    sys.stdin.read()
"""


class Fake:
    """A place where a cell takes two looks, and does what `outcomes` say of it: finish, or end with a status."""

    def __init__(self, jobs, outcomes=None):
        self.jobs, self.outcomes = jobs, outcomes or {}
        self.words = {}  # that failing cells leave
        self.started, self.slots, self.at_once, self.alive, self.left = [], [], 0, 0, None

    def start(self, cell, order, slot):
        self.started.append(cell.name)
        self.slots.append(slot)
        self.alive += 1
        self.at_once = max(self.at_once, self.alive)
        return FakeJob(self, cell, order)

    def leave(self, jobs):
        self.left = len(jobs)


class FakeJob:
    def __init__(self, place, cell, order):
        self.place, self.cell, self.order, self.looks = place, cell, order, 0

    def poll(self):
        self.looks += 1
        if self.looks < 2:
            return None
        self.place.alive -= 1
        outcome = self.place.outcomes.pop(self.cell.name, 0)
        if outcome == 0:
            write_record(self.cell, make_record(self.cell.labels, self.cell.conditions, SUMMARY))
        if self.cell.name in self.place.words:
            self.cell.beside("failed").write_text(self.place.words[self.cell.name])
        return outcome


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch):
    monkeypatch.setattr(running, "PAUSE", 0.01)


def holder(path):
    """Another process that holds a lock until its input ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], text=True, **pipes)
    assert process.stdout.readline() == "True\n"
    return process


def test_so_many_cells_run_at_a_time_and_each_keeps_its_slot(rows, planned, tmp_path):
    cells, place = planned(rows("fcos", "dw"), tmp_path, seeds=(0, 1, 2)), Fake(jobs=2)
    assert run_cells(cells, tmp_path, place, Overview(cells, quiet=True)) == {}
    assert place.started == [cell.name for cell in cells]
    assert place.at_once == 2
    assert set(place.slots) == {0, 1}
    assert all(read_record(cell.record)["conditions_sha256"] == cell.key for cell in cells)


def test_a_failed_cell_does_not_stop_the_others_and_says_why(rows, planned, tmp_path, capsys):
    cells = planned(rows("fcos", "atss", "dw"), tmp_path)
    place = Fake(1, {"fcos, seed 0": 1, "atss, seed 0": -9})
    place.words = {"fcos, seed 0": "training: loss_cls became nan\n"}
    failed = run_cells(cells, tmp_path, place, Overview(cells))
    assert failed == {
        cells[0]: "training: loss_cls became nan",
        cells[1]: "killed by SIGKILL, most often because memory ran out",
    }
    shown = capsys.readouterr().err
    assert "[1/3] fcos, seed 0: failed: training: loss_cls became nan" in shown
    assert "[3/3] dw, seed 0: AP 25.0" in shown


def test_a_process_that_said_nothing_is_told_by_the_last_line_of_its_log(rows, planned, tmp_path):
    (cell,) = planned(rows("fcos"), tmp_path)
    assert why_failed(cell, 3) == "ended with status 3 and said nothing"
    cell.folder.parent.mkdir(parents=True)
    cell.beside("log").write_text("epoch 1\nImportError: no module\n\n")
    assert why_failed(cell, 3) == "ImportError: no module"


def test_a_cell_that_another_process_runs_is_waited_for(rows, planned, tmp_path, capsys):
    cells = planned(rows("fcos", "dw"), tmp_path)
    other = holder(cells[0].beside("lock"))
    place = Fake(2)
    usual = place.start

    def start(cell, order, slot):  # once the second cell runs, the other process dies without a word
        other.kill()
        other.communicate()
        return usual(cell, order, slot)

    place.start = start
    assert run_cells(cells, tmp_path, place, Overview(cells)) == {}
    assert place.started == ["dw, seed 0", "fcos, seed 0"]
    assert capsys.readouterr().err.count("fcos, seed 0: another process is at it, which is waited for") == 1


def test_a_cell_that_was_taken_in_the_last_moment_is_tried_again(rows, planned, tmp_path):
    (cell,) = planned(rows("fcos"), tmp_path)
    place = Fake(1, {"fcos, seed 0": BUSY})
    assert run_cells([cell], tmp_path, place, Overview([cell], quiet=True)) == {}
    assert place.started == ["fcos, seed 0"] * 2


def test_what_runs_is_parted_from_when_the_grid_is_given_up(rows, planned, tmp_path, monkeypatch):
    cells, place = planned(rows("fcos", "dw"), tmp_path), Fake(2)
    monkeypatch.setattr(Overview, "look", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run_cells(cells, tmp_path, place, Overview(cells, quiet=True))
    assert place.left == 2


def test_a_dead_process_holds_no_lock(tmp_path):
    path = tmp_path / "cells" / "one.lock"
    assert not is_locked(path)
    process = holder(path)
    assert is_locked(path)
    with locked(path) as mine:
        assert not mine
    process.kill()
    process.communicate()
    assert not is_locked(path)
    with locked(path) as mine:
        assert mine


@pytest.fixture
def order(rows, planned, tmp_path):
    (cell,) = planned(rows("fcos"), tmp_path)
    return order_of(cell, tmp_path, threads=1)


def test_a_cell_is_trained_under_its_lock_and_once(order, monkeypatch):
    trained = []

    def train(given):
        trained.append(given)
        other = [sys.executable, "-c", HOLD, str(given.beside("lock"))]
        assert subprocess.run(other, text=True, input="", capture_output=True).stdout == "False\n"
        return SUMMARY

    monkeypatch.setattr(cell_module, "_train", train)
    assert run(order)
    assert run(order)
    assert trained == [order]
    assert read_record(order.beside("json"))["metrics"] == {"AP": 0.25}


def test_a_cell_that_another_process_holds_is_not_run(order, monkeypatch):
    monkeypatch.setattr(cell_module, "_train", lambda given: pytest.fail("trained"))
    process = holder(order.beside("lock"))
    assert not run(order)
    process.communicate("")


def test_why_a_run_ended_lies_beside_it_until_it_is_tried_again(order, monkeypatch):
    def fail(given):
        raise KeyError("boxes")

    monkeypatch.setattr(cell_module, "_train", fail)
    with pytest.raises(KeyError):
        run(order)
    assert order.beside("failed").read_text() == "KeyError: 'boxes'\n"
    monkeypatch.setattr(cell_module, "_train", lambda given: SUMMARY)
    assert run(order)
    assert not order.beside("failed").exists()


def test_the_process_of_a_cell_gets_its_device_and_ends_with_its_parent(rows, planned, tmp_path, monkeypatch):
    """The program is replaced by one that tells what it was given, and waits as the real one does."""
    program = (
        "import sys, json; print(json.loads(sys.stdin.readline())['config']['device'], flush=True); sys.stdin.read()"
    )
    usual = subprocess.Popen
    monkeypatch.setattr(
        running.subprocess, "Popen", lambda command, **streams: usual([sys.executable, "-c", program], **streams)
    )
    cells, place = planned(rows("fcos", "dw", "atss"), tmp_path), Processes(3, ["cuda:0", "cuda:1"])
    jobs = [place.start(cell, order_of(cell, tmp_path, None), slot) for slot, cell in enumerate(cells)]
    assert [job.poll() for job in jobs] == [None] * 3
    place.leave(jobs)
    assert [job.poll() for job in jobs] == [0] * 3
    assert [cell.beside("log").read_text() for cell in cells] == ["cuda:0\n", "cuda:1\n", "cuda:0\n"]


def test_a_process_ends_with_its_input():
    program = (
        "import time; from detassign.bench.grid.lifeline import end_with_input; "
        "end_with_input(); print(1, flush=True); time.sleep(600)"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", program], **pipes)
    assert process.stdout.readline() == b"1\n"
    assert process.poll() is None
    process.communicate()
    assert process.returncode == 1


def test_an_order_survives_the_way_to_its_process(order):
    from dataclasses import asdict

    assert Order(**json.loads(json.dumps(asdict(order)))) == order


def test_the_time_left_follows_the_steps_of_all_cells(rows, planned, tmp_path, monkeypatch, capsys):
    cells = planned(rows("fcos", "dw"), tmp_path, seeds=(0, 1))
    times = iter([0.0, 0.0, 100.0, 100.0, 100.0])
    monkeypatch.setattr("detassign.bench.grid.overview.time.monotonic", lambda: next(times))
    overview = Overview(cells)
    with overview.over(cells):
        overview.started(cells[0])
        write_record(cells[0], make_record(cells[0].labels, cells[0].conditions, SUMMARY))
        overview.finished(cells[0])
    shown = capsys.readouterr().err
    assert "[1/4] fcos, seed 0: AP 25.0 in 100 s; about 5 min left for the rest" in shown


def test_the_steps_of_a_run_are_the_last_whole_line_of_its_metrics(tmp_path):
    assert steps_done(tmp_path) == 0
    lines = [{"step": 1, "epoch": 1}, {"step": 2, "epoch": 1}]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 3, "ep')
    assert steps_done(tmp_path) == 2

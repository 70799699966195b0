"""Cells as jobs of a cluster; submitit's local executor stands for one."""

import sys
import time

import pytest

from detassign.bench.grid.cluster import JOBS, Cluster, Work, load_submitit
from detassign.bench.grid.records import read_record
from detassign.bench.grid.running import order_of
from detassign.engine.files import write_json

SUMMARY = {"metrics": {"AP": 0.25}, "curve": [], "versions": {}}


def test_a_cell_is_finished_by_a_job_in_a_process_of_its_own(rows, planned, tmp_path):
    """The run is over already, so the job has its record to write and nothing to train."""
    (cell,) = planned(rows("fcos"), tmp_path)
    cell.folder.mkdir(parents=True)
    write_json(SUMMARY, cell.folder / "summary.json")
    cluster = Cluster("local", tmp_path, 1, "cpu", {"timeout_min": 5})
    job = cluster.start(cell, order_of(cell, tmp_path, threads=1), 0)
    while job.poll() is None:
        time.sleep(0.1)
    assert job.poll() == 0
    assert read_record(cell.record)["assigner"] == "fcos"
    assert any((tmp_path / JOBS).iterdir())


def test_a_job_that_is_interrupted_is_handed_in_again(rows, planned, tmp_path):
    (cell,) = planned(rows("fcos"), tmp_path)
    work = Work(order_of(cell, tmp_path, threads=1))
    assert work.checkpoint().function == work


@pytest.mark.parametrize(
    ("options", "sentence"),
    [({"partition": "gpu"}, "partition"), ({"timeout_min": "long"}, "timeout_min")],
)
def test_options_that_submitit_does_not_know_are_a_sentence(options, sentence, tmp_path):
    with pytest.raises(ValueError, match=f"--cluster local: .*{sentence}"):
        Cluster("local", tmp_path, 1, "cpu", options)


def test_a_cluster_that_is_not_there_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ValueError, match="--cluster slurm: "):
        Cluster("slurm", tmp_path, 1, "auto", {})


def test_without_submitit_it_is_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(ValueError, match=r"needs submitit; install it with: pip install 'detassign\[cluster\]'"):
        load_submitit()

"""bench on the command line; one real, tiny comparison."""

import json
import shutil

import pytest
import submitit  # noqa: F401 (its import closes log files that are open: here there are none yet)
import torch

from detassign.assigners import MATCHINGS
from detassign.bench.grid import rehearsal
from detassign.bench.grid.plan import write_record
from detassign.bench.grid.records import make_record
from detassign.cli import bench_grid, main
from detassign.data import make_dataset
from detassign.engine import precision

SUMMARY = {"metrics": {"AP": 0.25}, "curve": [], "versions": {}}
OTHER = "center_prior(sigma=1.5, exclusive=None)+quality_focal"
SMALL = ("--batch-size", 4, "--set", "input.scale=(64, 64)", "--set", "model.head.stacked_convs=1", "--device", "cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "shapes"
    make_dataset(folder, images=8, size=64)
    return folder


def bench(*arguments):
    """Exit status of `bench assigners`."""
    with pytest.raises(SystemExit) as stopped:
        main(["bench", "assigners", *map(str, arguments)])
    return stopped.value.code


def test_a_comparison_runs_reports_and_goes_on_elsewhere(data, tmp_path, capfd):
    """Two cells in two processes; then the folder and the data move, and nothing is left to train."""
    command = ("--assigners", f"fcos,{OTHER}", "--epochs", 1, "--jobs", 2, "--threads", 1, *SMALL)
    assert bench(*command, "--data", data, "--work-dir", tmp_path / "one") == 0
    table = json.loads((tmp_path / "one" / "results.json").read_text())["table"]
    assert [row["assigner"] for row in table] == ["fcos", OTHER]
    assert table[1]["positives_per_target"] > table[0]["positives_per_target"]
    assert (tmp_path / "one" / "results.png").is_file()
    said = capfd.readouterr().err
    assert "[1/2] fcos, seed 0: started" in said
    assert "[2/2] center_prior" in said

    (tmp_path / "one").rename(tmp_path / "two")
    shutil.copytree(data, tmp_path / "figures")
    assert bench(*command, "--data", tmp_path / "figures", "--work-dir", tmp_path / "two") == 0
    said = capfd.readouterr().err
    assert "2 of 2 cells are done already" in said
    assert "started" not in said
    assert bench(*command, "--data", data, "--work-dir", tmp_path / "three", "--merge", tmp_path / "two") == 0
    assert f"2 of 2 cells taken over from {tmp_path / 'two'}" in capfd.readouterr().err


@pytest.fixture
def untrained(monkeypatch):
    """Cells that are asked for, with a reason to fail for each; nothing is rehearsed or trained."""
    asked = []

    def run(cells, folder, place, overview, threads):
        asked.append((cells, place, threads))
        return dict.fromkeys(cells, "the sky fell")

    monkeypatch.setattr("detassign.bench.grid.running.run_cells", run)
    monkeypatch.setattr(rehearsal, "rehearse", lambda config: None)
    return asked


def test_a_grid_is_detectors_by_data_by_assigners_by_seeds(untrained, data, tmp_path, capsys):
    shutil.copytree(data, tmp_path / "a,b")
    given = ("--detectors", "fcos_tiny,dino_r18_tiny", "--data", data, "--data", tmp_path / "a,b", "--seeds", "0,7")
    steps = ("--steps", 3, "--batch-size", 2, "--devices", "cpu,cpu:0", "--threads", 1)
    assert bench(*given, *steps, "--assigners", "dw,atss", "--work-dir", tmp_path / "grid") == 1
    ((cells, place, threads),) = untrained
    found = [(*cell.row, cell.seed) for cell in cells]
    assert found[:3] == [
        ("fcos_tiny", "dw", "shapes", 0),
        ("fcos_tiny", "atss", "shapes", 0),
        ("fcos_tiny", "dw", "a,b", 0),
    ]
    assert len({*found}) == len(found) == 16
    assert {cell.steps for cell in cells} == {3}
    assert (place.jobs, place.devices, threads) == (2, ["cpu", "cpu:0"], 1)
    said = capsys.readouterr().err
    assert "fcos_tiny dw on shapes, seed 0 failed: the sky fell" in said
    assert "16 of 16 cells failed" in said
    grid = json.loads((tmp_path / "grid" / "grid.json").read_text())
    assert grid["budget"]["steps"] == 3
    assert any(line.startswith("fcos_tiny on shapes: score model: ") for line in grid["differ"])


def test_minutes_are_measured_once_and_become_steps(untrained, data, tmp_path, monkeypatch, capsys):
    seconds = {"fcos": 0.5, "dw": 2.0}
    names = lambda config: config["model"]["head"]["assigner"]["type"]  # noqa: E731
    monkeypatch.setattr(rehearsal, "step_seconds", lambda config: seconds[names(config)])
    command = ("--assigners", "fcos,dw", "--minutes", 0.1, "--data", data, "--work-dir", tmp_path / "grid", *SMALL)
    assert bench(*command) == 1
    assert "0.1 minutes are 3 steps of the slowest row, dw (2 s a step)" in capsys.readouterr().err
    monkeypatch.setattr(rehearsal, "step_seconds", lambda config: pytest.fail("measured again"))
    assert bench(*command) == 1
    assert [{cell.steps for cell in cells} for cells, _, _ in untrained] == [{3}, {3}]


def test_auto_is_decided_once_for_all_cells(untrained, data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(precision, "fastest", lambda device: precision.Precision(torch.bfloat16, "auto: it is"))
    command = ("--assigners", "fcos,dw", "--seeds", "0,1", "--data", data, *SMALL, "--work-dir", tmp_path / "grid")
    assert bench(*command, "--precision", "auto") == 1
    ((cells, _, _),) = untrained
    assert [cell.conditions["precision"] for cell in cells] == ["bfloat16"] * 4
    assert capsys.readouterr().err.count("all cells are trained in bfloat16 (auto: it is)\n") == 1
    write_record(cells[0], make_record(cells[0].labels, cells[0].conditions, SUMMARY))
    monkeypatch.setattr(precision, "fastest", lambda device: pytest.fail("measured again"))
    assert bench(*command, "--precision", "auto") == 1
    assert [cell.key for cell in untrained[1][0]] == [cell.key for cell in cells[1:]]
    assert "all cells are trained in bfloat16 (auto: as it began)\n" in capsys.readouterr().err


def test_cells_go_to_a_cluster_with_its_options(untrained, data, tmp_path):
    given = ("--cluster", "local", "--cluster-option", "timeout_min=7", "--threads", 2, "--data", data, "--telemetry")
    assert bench(*given, *SMALL, "--work-dir", tmp_path / "grid") == 1
    ((cells, place, threads),) = untrained
    assert (place.jobs, threads) == (len(cells), 2)
    assert place.executor.parameters["timeout_min"] == 7
    assert all(cell.config["telemetry"]["on"] for cell in cells)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--seeds", "a"], "whole numbers"),
        (["--assigners", ","], "at least one name"),
        (["--assigners", "fcs"], "fcos"),
        (["--detectors", "fcos_tny"], "fcos_tiny"),
        (["--set", "model.head.assigner=dw"], "would give all rows the same one; name them with --assigners"),
        (["--assigners", "fcos,dw(top_k=9"], "( is never closed, at character 8"),
        (["--epochs", "1", "--steps", "5"], "--epochs and --steps: name one of them"),
        (["--threads", "1,2"], "a whole number of at least 1 for each cell"),
        (["--devices", "cpu,tpu9"], "device: expected auto, cpu or cuda[:index], got 'tpu9'"),
        (["--cluster-option", "timeout_min=5"], "--cluster-option: belongs to --cluster"),
        (["--cluster", "local", "--cluster-option", "timeout_min"], "expected key=value, as in --cluster-option"),
        (["--cluster", "local", "--minutes", "5"], "give --steps or --epochs"),
        (["--cluster", "local", "--precision", "auto"], "run elsewhere than it measures; name a precision"),
        (["--merge", "none"], "--merge none: holds no comparison"),
    ],
)
def test_a_mistake_is_one_sentence(data, tmp_path, monkeypatch, capsys, arguments, sentence):
    monkeypatch.setattr(bench_grid, "_try", lambda *_: pytest.fail("rehearsed"))
    assert bench("--data", data, *arguments, "--work-dir", tmp_path / "b") != 0
    assert sentence in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "b").exists()


def test_two_data_sets_of_one_name_are_refused(data, tmp_path, capsys):
    shutil.copytree(data, tmp_path / "shapes")
    assert bench("--data", data, "--data", tmp_path / "shapes", "--work-dir", tmp_path / "b") == 1
    assert "another data set is called shapes too; rename a folder" in capsys.readouterr().err


@pytest.fixture
def broken_matching():
    """A matching that no constructor sees anything wrong with."""

    @MATCHINGS.register("broken")
    class Broken:
        """Fails at its first batch."""

        cardinality, needs = "one-to-many", frozenset()

        def __call__(self, predictions, targets):
            raise KeyError("boxes")

    yield
    del MATCHINGS._entries["broken"]


def test_pairs_that_cannot_work_are_told_before_any_run(broken_matching, data, tmp_path, capfd):
    names = "fcos,atss+cross_entropy+sigmoid,broken+focal"
    assert bench("--data", data, "--assigners", names, "--work-dir", tmp_path / "bench", *SMALL, "--quiet") == 1
    said = capfd.readouterr().err
    assert "detassign: 2 of 3 assigners cannot train, so nothing was: atss+cross_entropy+sigmoid (" in said
    assert "defined for the score model Softmax" in said
    assert "broken+focal (" in said
    assert "KeyError: 'boxes'" in said
    assert not (tmp_path / "bench").exists()


@pytest.mark.parametrize("command", ["ops", "train-step"])
@pytest.mark.parametrize(("place", "sentence"), [("none/rows.json", "does not exist"), (".", "this is a folder")])
def test_a_result_that_could_not_be_written_is_refused_before_the_work(command, place, sentence, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["bench", command, "--out", str(tmp_path / place)])
    assert stopped.value.code == 1
    assert sentence in capsys.readouterr().err


def test_an_unknown_device_is_a_sentence(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["bench", "train-step", "--families", "detr", "--device", "tpu9"])
    assert stopped.value.code == 1
    assert "device: expected auto, cpu or cuda[:index], got 'tpu9'" in capsys.readouterr().err

"""bench assigners on the command line: one real, tiny comparison."""

import json

import pytest

from detassign.assigners import MATCHINGS
from detassign.cli import main
from detassign.data import make_dataset

OTHER = "center_prior(sigma=1.5, exclusive=None)+quality_focal"


def test_a_comparison_runs_reports_and_resumes(tmp_path, capfd):
    make_dataset(tmp_path / "data", images=8, size=64)
    folder = tmp_path / "bench"
    command = ["bench", "assigners", "--data", str(tmp_path / "data"), "--assigners", f"fcos,{OTHER}"]
    command += [
        "--epochs",
        "1",
        "--batch-size",
        "4",
        "--set",
        "input.scale=(64, 64)",
        "--work-dir",
        str(folder),
        "--quiet",
    ]
    with pytest.raises(SystemExit) as stopped:
        main(command)
    assert stopped.value.code == 0
    table = json.loads((folder / "results.json").read_text())["table"]
    assert [row["assigner"] for row in table] == ["fcos", OTHER]
    assert table[1]["positives_per_target"] > table[0]["positives_per_target"]
    assert (folder / "results.png").is_file()
    assert (folder / "cells" / "center_prior-sigma-1.5-exclusive-None+quality_focal-seed0").is_dir()

    capfd.readouterr()
    with pytest.raises(SystemExit):
        main(command)
    assert capfd.readouterr().err.count("done already") == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--seeds", "a"], "whole numbers"),
        (["--assigners", ","], "at least one name"),
        (["--assigners", "fcs"], "fcos"),
        (["--set", "model.head.assigner=dw"], "would give all rows the same one; name them with --assigners"),
        (["--assigners", "fcos,dw(top_k=9"], "( is never closed, at character 8"),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path, capsys, arguments, sentence):
    make_dataset(tmp_path / "data", images=4, size=64)
    with pytest.raises(SystemExit) as stopped:
        main(["bench", "assigners", "--data", str(tmp_path / "data"), *arguments, "--work-dir", str(tmp_path / "b")])
    assert stopped.value.code != 0
    assert sentence in capsys.readouterr().err


SMALL = ("--epochs", "1", "--batch-size", "4", "--set", "input.scale=(64, 64)", "--quiet")


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


def test_pairs_that_cannot_work_are_told_before_any_run(broken_matching, tmp_path, capfd):
    make_dataset(tmp_path / "data", images=8, size=64)
    folder = tmp_path / "bench"
    names = "fcos,atss+cross_entropy+sigmoid,broken+focal"
    with pytest.raises(SystemExit) as stopped:
        main(
            [
                "bench",
                "assigners",
                "--data",
                str(tmp_path / "data"),
                "--assigners",
                names,
                "--work-dir",
                str(folder),
                *SMALL,
            ]
        )
    assert stopped.value.code == 1
    said = capfd.readouterr().err
    assert "detassign: 2 of 3 assigners cannot train, so nothing was: atss+cross_entropy+sigmoid (" in said
    assert "defined for the score model Softmax" in said
    assert "broken+focal (" in said
    assert "KeyError: 'boxes'" in said
    assert not folder.exists()


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

"""bench assigners on the command line: one real, tiny comparison."""

import json

import pytest

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
        (["--assigners", "fcos,dw(top_k=9"], "( is never closed, at character 8"),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path, capsys, arguments, sentence):
    make_dataset(tmp_path / "data", images=4, size=64)
    with pytest.raises(SystemExit) as stopped:
        main(["bench", "assigners", "--data", str(tmp_path / "data"), *arguments, "--work-dir", str(tmp_path / "b")])
    assert stopped.value.code != 0
    assert sentence in capsys.readouterr().err

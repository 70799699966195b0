"""bench report and bench compare on the command line."""

import json
import shutil
from pathlib import Path

import pytest
from support.comparison import record, records
from support.package import ROOT

from detassign.bench.grid.records import make_record
from detassign.bench.grid.records import read_records as grid_records
from detassign.bench.report import write_report
from detassign.cli import bench_grid, main
from detassign.engine.files import write_json

CONDITIONS = {"detector": "fcos_tiny", "data": "shapes"}


def run(*arguments):
    with pytest.raises(SystemExit) as stopped:
        main(["bench", *map(str, arguments)])
    return stopped.value.code


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    folder = tmp_path_factory.mktemp("comparison") / "a"
    write_report(records("fcos", "dw"), CONDITIONS, folder)
    return folder


def test_a_report_is_at_most_80_columns_wide(comparison, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert run("report", comparison) == 0
    shown = capsys.readouterr().out
    tables = [line for line in shown.splitlines() if line[:1] in "│┃┏┡└"]
    assert max(map(len, tables)) <= 80
    assert "AP less that of fcos" in shown
    assert "+5.0" in shown
    assert "With 3 seeds no p below 0.25 is possible" in shown
    assert str(comparison / "results.html") in shown


def test_a_report_may_go_elsewhere_and_have_another_baseline(comparison, tmp_path, capsys):
    given = comparison / "results.json"
    assert run("report", given) == 1
    assert "--out: name a folder for the report" in capsys.readouterr().err
    for _ in range(2):  # a report's own folder is written again
        assert run("report", given, "--out", tmp_path / "out", "--baseline", "dw") == 0
    assert "AP less that of dw" in capsys.readouterr().out
    assert json.loads((tmp_path / "out" / "results.json").read_text())["table"][1]["difference"] is None


def test_a_grid_is_told_under_the_same_conditions_by_both_commands(tmp_path):
    """'bench assigners' when it ends, and 'bench report' on what is kept of the folder, without its results."""
    published, kept = ROOT / "bench" / "results" / "fcos_tiny_cpu", tmp_path / "kept"
    cells = Path("cells", "fcos_tiny", "synthetic")
    (kept / cells).mkdir(parents=True)
    for name in ("grid.json", *(cells / f"{assigner}-seed0.json" for assigner in ("fcos", "dw"))):
        shutil.copyfile(published / name, kept / name)
    told = json.loads((kept / "grid.json").read_text())
    bench_grid._report(grid_records(kept), told, tmp_path / "ended")
    assert run("report", kept, "--out", tmp_path / "reported") == 0
    ended, reported = (
        json.loads((tmp_path / name / "results.json").read_text())["conditions"] for name in ("ended", "reported")
    )
    assert reported == ended
    assert reported["differs besides the assigner"] == "; ".join(told["differ"])
    assert reported["torch"] == "2.11.0+cu130"
    assert reported["device"]
    assert told["conditions"].items() <= reported.items()


@pytest.mark.parametrize(
    ("grid", "said"),
    [({"conditions": [1]}, "expected what a comparison writes there"), ({"differ": "box loss"}, "'differ' must list")],
)
def test_a_grid_that_tells_nonsense_is_a_sentence(tmp_path, capsys, grid, said):
    write_json(grid, tmp_path / "grid.json")
    labels = {"detector": "fcos_tiny", "assigner": "fcos", "data": "shapes", "seed": 0}
    cells = tmp_path / "cells" / "fcos_tiny" / "shapes"
    cells.mkdir(parents=True)
    write_json(make_record(labels, {"lr": 0.1}, record()), cells / "fcos-seed0.json")
    assert run("report", tmp_path) == 1
    assert said in capsys.readouterr().err


def test_a_folder_of_other_things_is_not_written_to(comparison, tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    assert run("report", comparison / "results.json", "--out", tmp_path) == 1
    assert "holds files already" in capsys.readouterr().err
    assert run("report", tmp_path) == 1
    assert "holds no results.json" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_unknown_baseline_is_a_sentence(comparison, capsys):
    assert run("report", comparison, "--baseline", "tood") == 1
    assert "no row has the assigner 'tood'; there are fcos, dw" in capsys.readouterr().err


def test_comparisons_are_compared_row_by_row(comparison, tmp_path, capsys):
    """Every AP is a point higher, and the torch another."""
    later = [{**one, "versions": {"torch": "2.13.0"}} for one in records("fcos", "dw")]
    for one in later:
        one["metrics"]["AP"] += 0.01
    later.append(record("atss", 0, versions={"torch": "2.13.0"}))
    write_report(later, {**CONDITIONS, "epochs": 3}, tmp_path / "b")
    assert run("compare", comparison, tmp_path / "b", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["config"] == {"epochs": {"a": [], "b": [3]}}
    assert found["environment"] == {"versions.torch": {"a": ["2.11.0"], "b": ["2.13.0"]}}
    assert [row["a"]["assigner"] for row in found["rows"]] == ["fcos", "dw"]
    ap = found["rows"][1]["measures"]["AP"]
    assert ap["difference"]["mean"] == pytest.approx(0.01)
    assert ap["b"] - ap["a"] == pytest.approx(0.01)
    assert (ap["difference"]["p"], ap["difference"]["p_holm"]) == (0.25, 0.5)
    assert found["rows"][1]["classes"]["circle"]["difference"]["mean"] == 0
    assert [row["assigner"] for row in found["only_b"]] == ["atss"]

    assert run("compare", comparison, tmp_path / "b") == 0
    shown = capsys.readouterr().out
    assert "+1.0" in shown
    assert f"only in {tmp_path / 'b'}: fcos_tiny atss on shapes" in " ".join(shown.split())


def test_runs_are_compared_whatever_they_train(tiny_run, tmp_path, capsys):
    assert run("compare", tiny_run, tiny_run, "--json") == 0
    same = json.loads(capsys.readouterr().out)
    assert same["config"] == same["environment"] == {}
    assert same["rows"][0]["measures"]["AP"]["difference"]["mean"] == 0

    other = tmp_path / "other"
    shutil.copytree(tiny_run, other)
    config, summary = (json.loads((other / name).read_text()) for name in ("config.json", "summary.json"))
    config["schedule"]["epochs"] = 7
    config["model"]["head"]["assigner"] = {"type": "dw"}
    summary["host"], summary["metrics"]["AP"] = "elsewhere", 0.5
    for name, content in (("config.json", config), ("summary.json", summary)):
        (other / name).write_text(json.dumps(content))
    assert run("compare", tiny_run, other, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["config"]["schedule.epochs"] == {"a": [1], "b": [7]}
    assert found["config"]["model.head.assigner.type"]["b"] == ["dw"]
    assert found["environment"]["host"]["b"] == ["elsewhere"]
    assert found["rows"][0]["measures"]["AP"]["b"] == 0.5
    assert found["rows"][0]["classes"]


def test_a_runs_metrics_have_the_ap_of_every_class(tiny_run):
    summary = json.loads((tiny_run / "summary.json").read_text())
    classes = json.loads((tiny_run / "config.json").read_text())["data"]["classes"]
    assert [*summary["metrics"]["classes"]] == classes
    assert all("classes" not in point for point in summary["curve"])


def test_what_is_neither_run_nor_comparison_is_a_sentence(tmp_path, tiny_run, capsys):
    assert run("compare", tmp_path, tiny_run) == 1
    assert "holds no results.json: it is no comparison" in capsys.readouterr().err
    assert run("compare", tiny_run, tmp_path / "none.json") == 1
    assert "none.json does not exist" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["report", "compare"])
def test_help_shows_an_example(name, capsys):
    assert run(name, "--help") == 0
    assert f"  detassign bench {name} " in capsys.readouterr().out

"""A comparison's files: whole, in agreement, and read back."""

import csv
import json

import pytest
from support.comparison import record, records

from detassign.bench.compare import read_side
from detassign.bench.grid.records import make_record
from detassign.bench.report import read_records, write_report
from detassign.engine.files import write_json

CONDITIONS = {"detector": "fcos_tiny", "data": "shapes", "epochs": 2}
TEXTS = {f"results.{kind}" for kind in ("json", "csv", "md", "tex", "html", "png")}
PICTURES = {
    f"{name}.{kind}" for name in ("curves", "ap", "differences", "sizes", "classes", "cost") for kind in ("pdf", "png")
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_report(records("fcos", "dw"), CONDITIONS, tmp_path_factory.mktemp("report"))


def test_all_files_are_written_and_named(written):
    folder = written.paths["results.json"].parent
    assert {path.name for path in folder.iterdir()} == TEXTS | {"figures"}
    assert {path.name for path in (folder / "figures").iterdir()} == PICTURES
    assert all(path.is_file() for path in written.paths.values())
    assert written.paths["results.png"].read_bytes() == written.paths["figures/curves.png"].read_bytes()


def test_the_document_has_every_run_and_what_they_come_to(written):
    document = json.loads(written.paths["results.json"].read_text())
    assert document["runs"] == json.loads(json.dumps(records("fcos", "dw")))
    fcos, dw = document["table"]
    assert (dw["detector"], dw["assigner"], dw["data"], dw["seeds"]) == ("fcos_tiny", "dw", "shapes", [0, 1, 2])
    assert dw["AP"] == pytest.approx(written.analysis.entries[1].samples["AP"].mean)
    assert dw["difference"]["AP"]["mean"] == pytest.approx(dw["AP"] - fcos["AP"])
    assert dw["difference"]["AP"]["p"] == dw["difference"]["AP"]["least_p"] == dw["difference"]["AP"]["p_holm"] == 0.25
    assert dw["interval"]["AP"]["method"] == "t"
    assert dw["bootstrap"]["AP"]["method"] == "BCa bootstrap"
    assert fcos["difference"] is None


def test_the_lines_are_those_of_the_runs(written):
    lines = list(csv.DictReader(written.paths["results.csv"].read_text().splitlines()))
    found = {(line["assigner"], int(line["seed"])): float(line["AP"]) for line in lines}
    assert found == {(run["assigner"], run["seed"]): run["metrics"]["AP"] for run in records("fcos", "dw")}
    assert (lines[0]["steps"], lines[0]["APs"]) == ("8", "")
    assert float(lines[0]["AP/circle"]) == pytest.approx(float(lines[0]["AP"]) + 0.1)


def test_what_was_written_is_read_back(written):
    found = read_records(written.paths["results.json"].parent)
    assert (
        found.runs == read_records(written.paths["results.json"]).runs == json.loads(json.dumps(records("fcos", "dw")))
    )
    assert found.conditions == CONDITIONS


def test_nothing_is_written_of_records_that_are_none(tmp_path):
    with pytest.raises(ValueError, match="'metrics' is missing"):
        write_report([{"assigner": "fcos", "seed": 0}], CONDITIONS, tmp_path / "report")
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[]", "an object with 'runs'"),
        ('{"runs": {}}', "an object with 'runs'"),
        ('{"runs": [], "conditions": 3}', "no object"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path, content, said):
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(ValueError, match=said):
        read_records(tmp_path)


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no comparison, or none of its runs is finished"):
        read_records(tmp_path)


@pytest.mark.parametrize("name", ["红细胞", "set [red]", "$\\frac$", "a\nb", "\ud800"])
def test_a_data_set_of_any_name_is_reported(name, tmp_path):
    paths = write_report([record(data=name)], {**CONDITIONS, "data": name}, tmp_path).paths
    assert paths["results.png"].read_bytes().startswith(b"\x89PNG")
    assert paths["results.html"].read_text(encoding="utf-8").endswith("</html>\n")


def test_finished_cells_are_read_before_any_report_in_the_order_that_was_asked_for(tmp_path):
    """A comparison that was killed has cells and no results.json; the baseline is the row that was named first."""
    asked = [{"detector": "fcos_tiny", "assigner": name, "data": "shapes"} for name in ("fcos", "dw")]
    write_json({"budget": {}, "rows": asked, "conditions": CONDITIONS}, tmp_path / "grid.json")
    cells = tmp_path / "cells" / "fcos_tiny" / "shapes"
    cells.mkdir(parents=True)
    for run in records("dw", "fcos"):
        labels = {key: run[key] for key in ("detector", "assigner", "data", "seed")}
        write_json(make_record(labels, {"lr": 0.1}, run), cells / f"{run['assigner']}-seed{run['seed']}.json")
    found = read_records(tmp_path)
    assert [run["assigner"] for run in found.runs] == ["fcos"] * 3 + ["dw"] * 3
    assert found.conditions == {**CONDITIONS, "device": "a processor (here)", "torch": "2.11.0"}
    written = write_report(found.runs, found.conditions, tmp_path / "report")
    assert [entry.against and entry.against.assigner for entry in written.analysis.entries] == [None, "fcos"]
    assert "lr" not in written.paths["results.json"].read_text()
    assert read_side(tmp_path).configs == [{"lr": 0.1}] * 6

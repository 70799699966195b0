"""The comparison's table and files."""

import csv
import json

import pytest

from detassign.bench.report import cells, figure, markdown, rows, write_report


def run(assigner, seed, ap):
    metrics = {"AP": ap, "AP50": 2 * ap, "AP75": ap, "APs": None, "APm": ap, "APl": ap}
    curve = [{"epoch": e, "train_seconds": 10.0 * e, "AP": ap * e / 2, "AP50": ap * e} for e in (1, 2)]
    return {
        "assigner": assigner,
        "seed": seed,
        "steps": 8,
        "parameters": 5,
        "metrics": metrics,
        "curve": curve,
        "positives_per_target": 3.0,
        "effective_positives_per_target": 2.0,
        "targets_without_positive": 0.01,
        "seconds_per_step": 0.5,
        "assignment_share": 0.1,
        "peak_memory_bytes": 2**30,
    }


RUNS = [run("fcos", 0, 0.2), run("dw", 0, 0.3), run("fcos", 1, 0.4), run("dw", 1, 0.3)]


def test_a_row_holds_the_mean_and_half_the_range_over_seeds():
    fcos, dw = rows(RUNS)
    assert (fcos["assigner"], dw["assigner"]) == ("fcos", "dw")
    assert abs(fcos["AP"] - 0.3) < 1e-12
    assert abs(fcos["AP_spread"] - 0.1) < 1e-12
    assert dw["AP_spread"] == 0
    assert fcos["APs"] is None


def test_texts_are_in_percent_and_say_where_nothing_was_measured():
    headings, texts = cells(rows(RUNS))
    row = dict(zip(headings, texts[0], strict=True))
    assert row["AP"] == "30.0 ± 10.0"
    assert row["APs"] == "-"
    assert row["MiB"] == "1024"


def test_one_seed_has_no_spread():
    assert cells(rows(RUNS[:2]))[1][0][1] == "20.0"


def test_markdown_states_the_conditions():
    text = markdown(rows(RUNS), {"detector": "fcos_tiny", "epochs": 2})
    assert text.splitlines()[0].startswith("| assigner | AP |")
    assert "detector fcos_tiny; epochs 2" in text


def test_all_four_files_are_written_and_agree(tmp_path):
    paths = write_report(RUNS, {"detector": "fcos_tiny", "data": "shapes"}, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {f"results.{kind}" for kind in ("json", "csv", "md", "png")}
    document = json.loads(paths["json"].read_text())
    lines = list(csv.DictReader(paths["csv"].read_text().splitlines()))
    assert len(lines) == len(document["runs"]) == 4
    assert float(lines[0]["AP"]) == document["runs"][0]["metrics"]["AP"] == 0.2
    assert paths["png"].read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize("name", ["红细胞", "set [red]", "$\\frac$", "a\nb"])
def test_a_data_set_of_any_name_is_drawn(name):
    assert figure(RUNS, {"detector": "fcos_tiny", "data": name}).startswith(b"\x89PNG")

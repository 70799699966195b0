"""What runs come to: rows, spreads, differences to a baseline, and records that are none."""

import math
import statistics

import pytest
from support.comparison import record, records

from detassign.evidence.report.analysis import analyse

CONDITIONS = {"detector": "fcos_tiny", "data": "shapes"}


def test_a_row_is_the_mean_and_the_deviation_over_its_seeds():
    runs = records("fcos", "dw")
    fcos, dw = analyse(runs, CONDITIONS).entries
    values = [run["metrics"]["AP"] for run in runs if run["assigner"] == "dw"]
    assert (fcos.name, dw.name) == ("fcos", "dw")
    assert dw.samples["AP"].mean == pytest.approx(statistics.fmean(values))
    assert dw.samples["AP"].deviation == pytest.approx(statistics.stdev(values))
    assert "APs" not in dw.samples  # nobody measured it
    assert dw.classes["circle"].mean == pytest.approx(statistics.fmean(values) + 0.1)
    assert "none" not in dw.classes  # a class without objects


def test_differences_are_taken_seed_by_seed():
    runs = records("fcos", "dw")
    fcos, dw = analyse(runs, CONDITIONS).entries
    ap = {(run["assigner"], run["seed"]): run["metrics"]["AP"] for run in runs}
    found = dw.differences["AP"]
    assert fcos.differences == {}
    assert found.sample.mean == pytest.approx(statistics.fmean(ap["dw", seed] - ap["fcos", seed] for seed in range(3)))
    assert found.sample.deviation < dw.samples["AP"].deviation  # seeds that are good for one are good for the other
    assert (found.p, found.least_p) == (0.25, 0.25)


def test_holm_is_over_all_rows():
    """Seven seeds: p is 2/128 where all differences have one sign; three rows multiply the smallest by three."""
    entries = analyse(records("fcos", "dw", "atss", "paa", seeds=7), CONDITIONS).entries
    raw = {entry.name: entry.differences["AP"].p for entry in entries[1:]}
    adjusted = {entry.name: entry.differences["AP"].adjusted for entry in entries[1:]}
    assert raw["dw"] == raw["atss"] == 2 / 128
    assert adjusted["dw"] == adjusted["atss"] == 3 * 2 / 128
    assert entries[1].differences["AP"].significant
    assert entries[1].differences["AP50"].adjusted is None


def test_the_baseline_may_be_any_assigner():
    entries = analyse(records("fcos", "dw"), CONDITIONS, baseline="dw").entries
    assert entries[0].against.assigner == "dw"
    assert entries[0].differences["AP"].sample.mean < 0
    assert entries[1].differences == {}
    with pytest.raises(ValueError, match="no row has the assigner 'tood'; there are fcos, dw"):
        analyse(records("fcos", "dw"), CONDITIONS, baseline="tood")


def test_detectors_and_data_sets_are_compared_within_themselves():
    runs = [{**run, "data": data} for data in ("shapes", "cells") for run in records("fcos", "dw")]
    analysis = analyse(runs, {})
    assert [entry.name for entry in analysis.entries][:2] == ["fcos on shapes", "dw on shapes"]
    assert analysis.heading == "row"
    assert {entry.against.data for entry in analysis.compared} == {"shapes", "cells"}
    assert all(entry.against.data == entry.row.data for entry in analysis.compared)


def test_seeds_that_only_one_has_take_no_part_in_the_difference():
    runs = [*records("fcos", "dw"), record("dw", 5, ap=0.9)]
    assert analyse(runs, CONDITIONS).entries[1].differences["AP"].seeds == (0, 1, 2)
    assert analyse([record("fcos", 0), record("dw", 1)], CONDITIONS).compared == []


def test_conditions_name_what_older_records_leave_out():
    runs = [{key: value for key, value in run.items() if key not in ("detector", "data")} for run in records("fcos")]
    assert analyse(runs, CONDITIONS).entries[0].row == ("fcos_tiny", "fcos", "shapes")


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        ([], "holds no run"),
        (["x"], "run 1: expected an object, got str"),
        ([record(), {**record("dw"), "metrics": [1]}], "run 2: 'metrics' is missing or no object"),
        ([{**record(), "seed": "0"}], "'seed' is missing or no whole number"),
        ([{**record(), "seed": True}], "'seed' is missing or no whole number"),
        ([{**record(), "assigner": None}], "'assigner' is missing or no text"),
        ([{**record(), "curve": [1]}], "'curve' is no list of objects"),
        ([record(), record()], "run 2 is a second one of 'fcos' with seed 0"),
    ],
)
def test_what_is_no_record_is_refused_in_one_sentence(runs, said):
    with pytest.raises(ValueError, match=said):
        analyse(runs, CONDITIONS)


def test_values_that_are_no_numbers_were_not_measured():
    odd = {"AP": 0.3, "AP50": "0.5", "AP75": math.nan, "APm": math.inf, "APl": True, "APs": 10**400, "classes": "none"}
    entry = analyse(
        [{**record(), "metrics": odd, "curve": [{"step": 1, "AP": 0.1}], "versions": 3}], CONDITIONS
    ).entries[0]
    assert {name for name in entry.samples if name.startswith("AP")} == {"AP"}
    assert entry.classes == {}
    assert entry.runs[0].curve == ()

"""Planning a grid and going on with it: every cell has a place, and a folder is of one grid."""

import json
import shutil
from pathlib import Path

import pytest

from detassign.bench.grid.plan import (
    GRID,
    Row,
    check_folders,
    finished,
    from_elsewhere,
    groups,
    plan,
    read_grid,
    write_grid,
    write_record,
)
from detassign.bench.grid.records import conditions, digest, make_record, read_records
from detassign.bench.step.conditions import simulated_source
from detassign.engine.config import CONFIG, compose, plain
from detassign.engine.files import write_json
from detassign.engine.resuming import differences

ROOT = Path(__file__).resolve().parents[3]

SUMMARY = {"metrics": {"AP": 0.25}, "curve": [], "versions": {"torch": "2"}, "seed": 0, "host": "here", "device": "cpu"}


def finish(*cells, **changes):
    """Leave records, as if the cells had been run."""
    for cell in cells:
        write_record(cell, {**make_record(cell.labels, cell.conditions, SUMMARY), **changes})


def test_every_row_meets_every_seed_in_a_place_of_its_own(rows, planned, tmp_path):
    cells = planned(rows("fcos", "dw"), tmp_path, seeds=(0, 7))
    assert [(*cell.row, cell.seed) for cell in cells] == [
        ("fcos_tiny", name, "shapes", seed) for seed in (0, 7) for name in ("fcos", "dw")
    ]
    assert all(cell.config["seed"] == cell.seed for cell in cells)
    assert len({cell.key for cell in cells}) == len({cell.folder for cell in cells}) == 4
    assert cells[0].folder == tmp_path / "cells" / "fcos_tiny" / "shapes" / "fcos-seed0"
    assert cells[0].record.name == "fcos-seed0.json"
    assert cells[0].name == "fcos, seed 0"


def test_specs_with_arguments_have_folders_of_their_own(rows, tmp_path):
    (config,) = rows("dw").values()
    specs = ["dw(top_k=9)", "dw(top_k='9')", "dw(top_k=-9)", "dw(prior={'sigma': 2})", "a/b", "a b"]
    configs = {Row("fcos_tiny", spec, "shapes"): config for spec in specs}
    folders = [cell.folder for cell in plan(configs, [0], tmp_path, dict.fromkeys(configs, 1))]
    assert len({*folders}) == len(specs)
    assert {folder.parent for folder in folders} == {tmp_path / "cells" / "fcos_tiny" / "shapes"}


def test_rows_are_told_by_what_they_do_not_share():
    found = [Row("fcos_tiny", "dw", "a"), Row("fcos_tiny", "dw", "b"), Row("fcos_tiny", "atss", "a")]
    assert [row.told(found) for row in found] == ["dw on a", "dw on b", "atss on a"]
    assert groups(found) == {("fcos_tiny", "a"): [found[0], found[2]], ("fcos_tiny", "b"): [found[1]]}


def test_a_record_keeps_the_summary_under_the_cells_labels(rows, planned, tmp_path):
    cells = planned(rows("fcos", "dw"), tmp_path)
    finish(cells[1])
    (record,) = read_records(tmp_path)
    labels = {"detector": "fcos_tiny", "assigner": "dw", "data": "shapes", "seed": 0}
    assert {name: record[name] for name in (*labels, *SUMMARY)} == {**SUMMARY, **labels}
    assert finished(cells, tmp_path) == {cells[1]: record}


def test_a_grid_that_was_moved_with_its_data_is_finished_where_it_was(rows, planned, shapes, tmp_path):
    """Both folders have other names, and what is planned there is found by its conditions."""
    finish(*planned(rows("fcos"), tmp_path / "one"))
    shutil.copytree(tmp_path / "one", tmp_path / "moved")
    shutil.copytree(shapes, tmp_path / "figures")
    write_grid(tmp_path / "moved", {}, [], {})
    cells = planned(rows("fcos", "dw", data=tmp_path / "figures"), tmp_path / "moved")
    (record,) = finished(cells, tmp_path / "moved").values()
    assert (record["assigner"], record["data"]) == ("fcos", "figures")


def test_conditions_have_no_places_and_know_content(rows, shapes, tmp_path):
    (config,) = rows("fcos").values()
    assert str(shapes) not in json.dumps(conditions(config))
    elsewhere = {**config, "device": "cuda:1", "input": {**config["input"], "workers": 3}}
    assert digest(conditions(elsewhere)) == digest(conditions(config))
    shutil.copytree(shapes, tmp_path / "shapes")
    text = (tmp_path / "shapes" / "train.json").read_text()
    (tmp_path / "shapes" / "train.json").write_text(text + " ")
    (other,) = rows("fcos", data=tmp_path / "shapes").values()
    assert digest(conditions(other)) != digest(conditions(config))
    weights = tmp_path / "weights.pth"
    weights.write_bytes(b"1")
    one = digest(conditions({**config, "init": str(weights)}))
    weights.write_bytes(b"22")
    assert digest(conditions({**config, "init": str(weights)})) != one


def test_other_conditions_in_the_same_folder_are_refused_by_name(rows, planned, tmp_path):
    finish(*planned(rows("fcos"), tmp_path))
    write_grid(tmp_path, {}, [], {})
    cells = planned(rows("fcos", epochs=9), tmp_path)
    with pytest.raises(ValueError, match=r"\(of fcos, seed 0: schedule\.epochs is 1 there and 9 here\)"):
        finished(cells, tmp_path)


def test_a_run_that_began_under_other_conditions_is_refused(rows, planned, tmp_path):
    (cell,) = planned(rows("fcos"), tmp_path)
    cell.folder.mkdir(parents=True)
    write_json(cell.config, cell.folder / CONFIG)
    write_grid(tmp_path, {}, [cell], {})
    planned(rows("fcos"), tmp_path)
    with pytest.raises(ValueError, match=r"schedule\.batch_size is 4 there and 2 here"):
        planned(rows("fcos", **{"schedule.batch_size": 2}), tmp_path)


def test_a_folder_that_holds_anything_else_is_refused(tmp_path):
    check_folders(tmp_path)
    (tmp_path / "cells").mkdir()
    with pytest.raises(FileExistsError, match="holds files already, such as 'cells'"):
        check_folders(tmp_path)
    (tmp_path / GRID).write_text("[]")
    with pytest.raises(ValueError, match="expected what a comparison writes there"):
        read_grid(tmp_path)


def test_finished_cells_of_other_grids_are_taken_over_once(rows, planned, tmp_path):
    configs = rows("fcos", "dw")
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        there = planned(configs, tmp_path / name, seeds=(seed,))
        write_grid(tmp_path / name, {}, there, {})
        finish(*there, host=name)
    cells = planned(configs, tmp_path / "all", seeds=(0, 1, 2))
    done = {cells[2]: {}}
    found = from_elsewhere(cells, [tmp_path / "a", tmp_path / "b", tmp_path / "c"], done)
    taken = {folder.name: [cell.name for cell in records] for folder, records in found.items()}
    assert taken == {"a": ["dw, seed 1"], "b": [], "c": ["fcos, seed 2", "dw, seed 2"]}
    assert not (tmp_path / "all").exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"epochs": 2}, r"c holds a comparison under other conditions \(of fcos, seed 0: schedule\.epochs is 2 there"),
        ({"model.head.stacked_convs": 2}, r"model\.head\.stacked_convs is 2 there and 1 here"),
    ],
)
def test_cells_under_other_conditions_are_not_taken_over(rows, planned, tmp_path, changes, sentence):
    there = planned(rows("fcos", **changes), tmp_path / "c")
    write_grid(tmp_path / "c", {}, there, {})
    finish(*there)
    with pytest.raises(ValueError, match=sentence):
        from_elsewhere(planned(rows("fcos"), tmp_path / "all"), [tmp_path / "c"], {})


def test_a_folder_without_a_grid_is_not_merged(tmp_path):
    with pytest.raises(ValueError, match=r"holds no comparison \(grid\.json\)"):
        check_folders(tmp_path / "new", [tmp_path])


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        ("{", "is no JSON"),
        ("[1]", "not a dict"),
        ('{"detector": 3}', "detector is no str"),
        ({"seed": True}, "seed is no int"),
        ({"metrics": None}, "metrics is no dict"),
        ({"conditions": {"seed": 5}}, "its conditions are not those that it was written with"),
    ],
)
def test_what_is_no_record_is_named(rows, planned, tmp_path, broken, sentence):
    cells = planned(rows("fcos"), tmp_path)
    finish(*cells, **(broken if isinstance(broken, dict) else {}))
    if isinstance(broken, str):
        cells[0].record.write_text(broken)
    with pytest.raises(ValueError, match=rf"fcos-seed0\.json.*{sentence}"):
        finished(cells, tmp_path)


def test_published_cells_are_of_todays_detectors():
    """So `--merge` takes them over."""
    records = read_records(ROOT / "bench" / "results" / "fcos_tiny_cpu")
    for record in records:
        model = json.loads(
            json.dumps(plain(compose(record["detector"], record["assigner"], simulated_source())["model"]))
        )
        assert set(differences(record["conditions"]["model"], model)) <= {"head.num_classes"}, record["assigner"]

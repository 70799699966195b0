"""Planning a comparison and going on with it, without training."""

import json

import pytest

from detassign.bench import assigners
from detassign.bench.assigners import compare, plan, results, try_all
from detassign.engine.files import write_json
from detassign.engine.train import CONFIG, SUMMARY

CONFIGS = {name: {"model": name, "data": {}, "input": {}, "schedule": {}, "seed": 0} for name in ("fcos", "dw")}


@pytest.fixture
def trained(monkeypatch):
    """Cells "train" by leaving a summary; the names in the set fail instead."""
    done, failing = [], set()

    def run(cell, quiet):
        if cell.assigner in failing:
            return 1
        done.append((cell.assigner, cell.seed))
        cell.folder.mkdir(parents=True)
        write_json(cell.config, cell.folder / CONFIG)
        (cell.folder / SUMMARY).write_text(json.dumps({"seed": cell.seed}))
        return 0

    monkeypatch.setattr(assigners, "_run", run)
    return done, failing


def test_every_assigner_meets_every_seed_under_the_same_config(tmp_path):
    cells = plan(CONFIGS, [0, 7], tmp_path)
    assert [(c.assigner, c.seed) for c in cells] == [("fcos", 0), ("dw", 0), ("fcos", 7), ("dw", 7)]
    assert all(cell.config["seed"] == cell.seed for cell in cells)
    assert len({cell.folder for cell in cells}) == 4


def test_specs_with_arguments_have_folders_of_their_own(tmp_path):
    config = CONFIGS["dw"]
    cells = plan(
        dict.fromkeys(["dw(top_k=9)", "dw(top_k='9')", "dw(top_k=-9)", "dw(prior={'sigma': 2})"], config), [0], tmp_path
    )
    names = [cell.folder.name for cell in cells]
    assert len(set(names)) == 4
    assert names[2:] == ["dw-top_k--9-seed0", "dw-prior-sigma-2-seed0"]


def test_finished_cells_are_not_done_again(tmp_path, trained):
    done, _ = trained
    compare(plan(CONFIGS, [0], tmp_path))
    compare(plan(CONFIGS, [0, 1], tmp_path))
    assert done == [("fcos", 0), ("dw", 0), ("fcos", 1), ("dw", 1)]
    assert [r["assigner"] for r in results(plan(CONFIGS, [0], tmp_path))] == ["fcos", "dw"]


def test_a_failed_cell_does_not_stop_the_others(tmp_path, trained):
    done, failing = trained
    failing.add("fcos")
    failed = compare(plan(CONFIGS, [0], tmp_path))
    assert [cell.assigner for cell in failed] == ["fcos"]
    assert done == [("dw", 0)]


def test_another_comparison_in_the_same_folder_is_refused(tmp_path, trained):
    compare(plan(CONFIGS, [0], tmp_path))
    changed = {name: {**config, "schedule": {"epochs": 99}} for name, config in CONFIGS.items()}
    with pytest.raises(ValueError, match=r"under other conditions \(schedule\.epochs of fcos differ\)"):
        plan(changed, [0], tmp_path)


def test_each_assigner_is_tried_once_and_a_finished_one_not_again(tmp_path, trained, monkeypatch):
    tried = []
    monkeypatch.setattr(assigners, "rehearse", lambda config: tried.append(config["model"]))
    try_all(plan(CONFIGS, [0, 1], tmp_path))
    assert tried == ["fcos", "dw"]
    compare(plan({"fcos": CONFIGS["fcos"]}, [0, 1], tmp_path))
    try_all(plan(CONFIGS, [0, 1], tmp_path))
    assert tried == ["fcos", "dw", "dw"]

"""What a data set asks for: numbers worked out by hand, and choices on both sides of their thresholds."""

import json
import shlex
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from detassign.assigners import build
from detassign.bench.grid import rehearsal
from detassign.cli import bench_grid
from detassign.cli.advise import _comparison, command
from detassign.data import make_dataset
from detassign.evidence.advice.facts import Facts
from detassign.evidence.advice.reach import Reach, reach
from detassign.evidence.advice.rules import choices, input_side, shortlist
from detassign.evidence.advice.verdict import verdict


def facts(boxes, owners=None, image_sizes=((640, 480),), overlaps=(), labels=None, classes=("cell",)):
    boxes = np.array(boxes, float).reshape(-1, 4)
    owners = np.zeros(len(boxes), int) if owners is None else np.array(owners)
    labels = np.zeros(len(boxes), int) if labels is None else np.array(labels)
    return Facts(np.array(image_sizes, float), boxes, owners, labels, classes, np.array(overlaps))


def squares(side, count):
    return [[10.0, 10.0, 10.0 + side, 10.0 + side]] * count


def chosen(split, most=10, missed=0, with_gpu=False):
    reached = {"atss": Reach({"small": 10, "medium": 0, "large": 0}, {"small": missed, "medium": 0, "large": 0}, 9.0)}
    return {each.topic: each for each in choices(split, most, reached, with_gpu)}


def test_sides_are_those_of_the_resized_image():
    split = facts([[0, 0, 32, 64], [0, 0, 30, 20]], owners=[0, 1], image_sizes=[(640, 480), (100, 200)])
    assert split.factors(320).tolist() == [0.5, 1.6]
    assert split.shorter_sides(320).tolist() == [16.0, 32.0]
    assert split.counts.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("side", "wanted"),
    [(32, 320), (31, 384), (16, 640), (2, 800)],  # 640 pixels wide: 16 at 320; no enlargement beyond 960 is worth it
)
def test_the_input_is_the_smallest_at_which_objects_are_two_cells_wide(side, wanted):
    assert input_side(facts(squares(side, 100))) == wanted


def test_a_tenth_of_the_objects_may_be_narrow_and_a_hundredth_very():
    assert input_side(facts(squares(64, 90) + squares(20, 10))) == 320
    assert input_side(facts(squares(64, 89) + squares(20, 11))) == 512  # 20 of 640 is 16 of 512
    assert input_side(facts(squares(64, 99) + squares(15, 1))) == 320
    assert input_side(facts(squares(64, 98) + squares(15, 2))) == 384  # 15 of 640 is 9 of 384


def test_reach_counts_objects_without_a_sample_by_size():
    """A box of two pixels between the points of stride 8 holds none of them; ATSS still takes the nearest anchors' centres."""
    split = facts([[1, 1, 3, 3], [0, 0, 64, 64]], image_sizes=[(64, 64)])
    found = reach(split, 64, (8, 16, 32), build("fcos", 1))
    assert found.objects == {"small": 1, "medium": 1, "large": 0}
    assert found.missed == {"small": 1, "medium": 0, "large": 0}
    assert found.share_missed == 0.5


def test_reach_looks_at_a_spread_of_the_images_with_objects():
    split = facts(squares(32, 3), owners=[0, 2, 4], image_sizes=[(64, 64)] * 5)
    assert sum(reach(split, 64, (8, 16), build("atss", 1), images=2).objects.values()) == 2


def test_queries_are_twice_the_objects_of_the_fullest_image():
    assert chosen(facts(squares(64, 4)), most=50)["queries"].choice == "100"
    assert chosen(facts(squares(64, 4)), most=51)["queries"].choice == "300"
    assert chosen(facts(squares(64, 4)), most=751)["queries"].choice == "a dense detector"


def test_nms_is_left_out_where_it_costs_more_than_a_hundredth():
    few, many = (
        facts(squares(64, 100), overlaps=[0.7] + [0.1] * 99),
        facts(squares(64, 100), overlaps=[0.7] * 2 + [0.1] * 98),
    )
    assert chosen(few)["NMS"].choice == "0.6"
    assert chosen(many)["NMS"].choice == "none"
    assert "2.00%" in chosen(many)["NMS"].reason
    assert "yolov10" in shortlist(many, 320)
    assert "yolov10" not in shortlist(few, 320)


def test_small_and_crowded_objects_bring_assigners_of_their_own():
    small = facts(squares(8, 100))
    assert shortlist(small, 320)[:2] == ["atss", "rfla"]
    assert shortlist(facts(squares(64, 100)), 320) == ["atss", "fcos", "dw", "tal_v8"]
    assert "simota" in shortlist(facts(squares(64, 100), overlaps=[0.4] * 6 + [0.0] * 94), 320)


def test_rare_classes_are_named():
    split = facts(squares(64, 25), labels=[0] * 24 + [1], classes=("cell", "platelet"))
    assert "platelet (1)" in chosen(split)["rare classes"].reason
    assert "rare classes" not in chosen(facts(squares(64, 25)))


def test_without_objects_nothing_is_divided_by():
    empty = facts([])
    assert input_side(empty) == 320
    assert empty.lost_to_nms(0.6) == 0.0
    assert reach(empty, 320, (8,), build("fcos", 1)).share_missed == 0.0


def record(assigner, seed, ap, seconds=0.1):
    labels = {"detector": "fcos_tiny", "assigner": assigner, "data": "shapes", "seed": seed}
    summary = {"seconds_per_step": seconds, "steps": 300, "versions": {}, "curve": [], "metrics": {"AP": ap}}
    return {**labels, **summary}


def test_a_difference_that_its_interval_leaves_open_is_none():
    """fcos loses 10, 11 and 12 AP, dw 1, -1 and 1.5: Student's t leaves out 0 for the first alone; dw is quicker."""
    records = [record("atss", seed, 0.40) for seed in range(3)]
    records += [record("fcos", seed, ap) for seed, ap in enumerate((0.30, 0.29, 0.28))]
    records += [record("dw", seed, ap, seconds=0.05) for seed, ap in enumerate((0.39, 0.41, 0.385))]
    first, *others, advice, caution = verdict(records)
    assert first == "Highest: atss, 40.0 AP in the mean of 3 seeds."
    assert others[0] == "fcos: -11.0 AP, 95 % from -13.5 to -8.5."
    assert others[1].startswith("dw: -0.5 AP, 95 % from -3.8 to +2.8, no difference to be seen")
    assert advice == "Between atss, dw this probe sees no difference: take dw, the quickest of them to train."
    assert "after 300 steps" in caution


def test_one_seed_and_nothing_learnt_say_so():
    assert "One seed cannot tell" in verdict([record("atss", 0, 0.4), record("dw", 0, 0.3)])[-1]
    assert verdict([record("atss", 0, 0.01), record("dw", 0, 0.0)])[0].startswith(
        "Nothing has been learnt yet (1.0 AP at best)"
    )
    assert (
        verdict([record(name, seed, ap) for name, ap in (("atss", 0.4), ("dw", 0.2)) for seed in (0, 1)])[-2]
        == "Take atss."
    )
    with pytest.raises(ValueError, match="no run has an AP"):
        verdict([record("atss", 0, None)])


def test_the_command_probes_the_short_list_within_its_minutes(tmp_path, monkeypatch):
    make_dataset(tmp_path / "shapes", images=10, size=96)
    asked = {}

    def compare(**given):
        asked.update(given)
        return [record(name, seed, 0.4) for name in given["assigners"] for seed in range(2)]

    monkeypatch.setattr(bench_grid, "compare", compare)
    area = 0.09
    monkeypatch.setattr(rehearsal, "step_seconds", lambda config: area * (config["input"]["scale"][0] / 160) ** 2)
    asking = ["--data", str(tmp_path / "shapes"), "--minutes", "10", "--work-dir", str(tmp_path / "probe")]
    done = CliRunner().invoke(command, asking, catch_exceptions=False)
    assert (asked["detectors"], asked["seeds"], asked["minutes"]) == ("fcos_tiny", "0,1", 1.0)
    assert asked["settings"] == ("input.scale=(320,320)",)
    assert len(asked["assigners"]) == 5
    assert "this probe sees no difference" in done.output
    assert "The probe's input" not in done.output

    area = 0.19  # a minute is then 79 steps at 320 pixels
    done = CliRunner().invoke(command, asking, catch_exceptions=False)
    assert asked["settings"] == ("input.scale=(224,224)",)
    assert "The probe's input is 224 pixels, not 320" in done.output


def test_a_probe_that_was_begun_keeps_its_input(tmp_path, monkeypatch):
    make_dataset(tmp_path / "shapes", images=10, size=96)
    asked = {}
    monkeypatch.setattr(bench_grid, "compare", lambda **given: asked.update(given) or [record("atss", 0, 0.4)])
    monkeypatch.setattr(rehearsal, "step_seconds", lambda config: pytest.fail("measured again"))
    probe = tmp_path / "probe"
    asking = ["--data", str(tmp_path / "shapes"), "--minutes", "10", "--work-dir", str(probe)]
    probe.mkdir()
    (probe / "grid.json").write_text(json.dumps({"conditions": {"scale": "256x256"}}))
    done = CliRunner().invoke(command, asking, catch_exceptions=False)
    assert asked["settings"] == ("input.scale=(256,256)",)
    assert "The probe's input is 256 pixels, not 320" in done.output

    (probe / "grid.json").write_text(json.dumps({"conditions": {"scale": "256x192"}}))
    assert "its comparison is of input 256x192" in str(CliRunner().invoke(command, asking).exception)
    (probe / "grid.json").rename(probe / "notes.json")
    assert "holds files already" in str(CliRunner().invoke(command, asking).exception)


def test_a_probe_times_steps_with_the_threads_of_its_runs(tmp_path, monkeypatch):
    make_dataset(tmp_path / "shapes", images=10, size=96)
    threads = []
    monkeypatch.setattr(bench_grid, "compare", lambda **given: [record("atss", 0, 0.4)])
    monkeypatch.setattr(rehearsal, "step_seconds", lambda config: threads.append(torch.get_num_threads()) or 0.1)
    before = torch.get_num_threads()
    asking = ["--data", str(tmp_path / "shapes"), "--minutes", "10", "--work-dir", str(tmp_path / "probe")]
    try:
        torch.set_num_threads(4)
        CliRunner().invoke(command, [*asking, "--jobs", "2"], catch_exceptions=False)
        assert threads == [2, 2]
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)


def test_a_probe_that_cannot_train_says_why(tmp_path, monkeypatch):
    make_dataset(tmp_path / "shapes", images=10, size=96)

    def fail(config):
        raise RuntimeError("no such operator")

    monkeypatch.setattr(rehearsal, "rehearse", fail)
    asking = ["--data", str(tmp_path / "shapes"), "--minutes", "10", "--work-dir", str(tmp_path / "probe")]
    said = str(CliRunner().invoke(command, asking).exception)
    assert "cannot train" in said
    assert "no such operator" in said


def test_the_command_reads_a_set_and_names_what_to_compare(tmp_path):
    make_dataset(tmp_path / "shapes", images=10, size=96)
    out = tmp_path / "advice.json"
    done = CliRunner().invoke(command, ["--data", str(tmp_path / "shapes"), "--json", str(out)], catch_exceptions=False)
    written, told = json.loads(out.read_text()), done.output
    assert written["statistics"]["train"]["images"] == 8
    assert written["assigners"][0] == "atss"
    assert f"--assigners {','.join(written['assigners'])}" in told
    assert {each["topic"] for each in written["choices"]} >= {"detector", "input size", "queries", "NMS"}


def test_the_command_that_is_printed_takes_the_same_data():
    advice = SimpleNamespace(choices=[], assigners=["fcos", "dw"])
    printed = _comparison(advice, "my folder", Path("/data/of $HOME"), 50)
    assert shlex.split(printed)[3:9] == ["--data", "my folder", "--data-root", "/data/of $HOME", "--images", "50"]
    assert "--data-root" not in _comparison(advice, "synthetic", None, None)

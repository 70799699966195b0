"""The benchmark of evaluation: both sides evaluate the same, and the command writes it; no times."""

import json
from functools import partial

import numpy as np
import pytest

from detassign.bench.evaluation import NAMES, SIDES, measure, random_split
from detassign.cli import main


def test_both_sides_come_to_the_same_averages():
    split = random_split(images=12, detections=20, classes=3, seed=1)
    ours, theirs = (side(split)() for side in SIDES.values())
    assert tuple(ours) == tuple(theirs) == NAMES
    assert ours == pytest.approx(theirs, abs=1e-12, nan_ok=True)
    assert 0 < ours["AP"] < ours["AP50"] < 1


def test_a_split_is_of_the_size_asked_for_and_its_objects_are_detected():
    split = random_split(images=3, detections=9, classes=4, objects=2)
    assert np.bincount(split.objects.images).tolist() == [2, 2, 2]
    assert [tuple(found["bboxes"].shape) for found in split.found] == [(9, 4)] * 3
    for image, found in enumerate(split.found):
        own = split.objects.boxes[split.objects.images == image]
        apart = np.abs(found["bboxes"][:2].numpy()[:, :2] - own[:, :2])
        assert apart.max() < 30  # seven deviations
        assert (found["bboxes"][:, 2:] > found["bboxes"][:, :2]).all()


def test_a_side_is_measured_in_a_process_of_its_own():
    (row,) = measure(partial(random_split, 4, 10, 2), ["detassign"])
    assert row.averages == SIDES["detassign"](random_split(4, 10, 2))()
    assert min(row.seconds, row.cpu_seconds, row.memory) > 0


def test_the_command_shows_and_writes_both(tmp_path, capsys):
    out = tmp_path / "evaluation.json"
    with pytest.raises(SystemExit, match="0"):
        main(["bench", "evaluation", "--images", "20", "--detections", "10", "--classes", "2", "--out", str(out)])
    assert "of the memory; averages are" in " ".join(capsys.readouterr().out.split())
    written = json.loads(out.read_text())
    assert written["conditions"].keys() == {"images", "detections", "classes", "processor"}
    ours, theirs = written["rows"]
    assert ours["averages"] == pytest.approx(theirs["averages"], abs=1e-12, nan_ok=True)

"""What rows differ in besides the assigner is told."""

import pytest

from detassign.bench.differences import besides
from detassign.data import make_dataset, resolve
from detassign.engine.config import compose


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "shapes"
    make_dataset(folder, images=4, size=64)
    return resolve(folder)


def told(source, detector, *assigners):
    """The facts that differ, by name."""
    lines = besides({name: compose(detector, name, source) for name in assigners})
    return dict(line.split(": ", 1) for line in lines)


def test_rows_with_the_same_parts_around_the_assigner_differ_in_nothing(source):
    assert told(source, "fcos_tiny", "center_sampling+focal", "fcos") == {}


def test_nms_branches_losses_and_parameters_are_told_with_their_rows(source):
    facts = told(source, "fcos_tiny", "fcos", "hungarian+focal", "dw")
    assert facts["NMS"] == "0.6 (fcos, dw), none (hungarian+focal)"
    assert facts["score model"].startswith("Sigmoid() (fcos, hungarian+focal), SigmoidObjectness(")
    assert "box loss" not in facts
    assert facts["scale of the box loss"] == "1 (fcos, hungarian+focal), 1.25 (dw)"


def test_a_second_head_is_told(source):
    assert told(source, "fcos_tiny", "tal_v8", "yolov10")["second head"] == "none (tal_v8), under TaskAligned (yolov10)"


def test_one_row_differs_from_none(source):
    assert told(source, "dino_r18_tiny", "hungarian") == {}

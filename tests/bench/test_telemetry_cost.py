"""What telemetry costs: measured on a small picture; times are not judged."""

from detassign.bench.step.conditions import Conditions
from detassign.bench.telemetry_cost import measure


def test_a_row_has_a_step_a_look_and_an_image():
    (row,) = measure(["fcos_tiny:dw"], Conditions(size=(64, 64), objects=3, steps=1))
    assert (row.detector, row.assigner) == ("fcos_tiny", "dw")
    assert row.pairs > 6  # more than one for each object of two images
    assert min(row.step, row.look, row.image) > 0
    found = row.to_dict()
    assert found["share"] == row.look / row.step
    assert found["share_of_run"] == found["share"] / 5

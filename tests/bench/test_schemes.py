"""What schemes cost: counted and measured on a small picture; times are not judged."""

import torch

from detassign.bench.schemes import contender, matches_per_object, measure
from detassign.bench.step.conditions import Conditions, make_batch

SMALL = Conditions(size=(64, 64), objects=3, steps=1)


def test_a_row_says_what_a_scheme_adds():
    before = torch.get_num_threads()
    (row,) = measure("dino_r18_tiny", ["h_detr"], SMALL)
    assert torch.get_num_threads() == before
    assert row.matches == 7  # its own query and six of the branch
    assert row.parameters == 300 * 96
    assert min(row.seconds, row.plain_seconds, row.inference, row.memory, row.plain_memory) > 0
    assert row.to_dict()["ratio"] == row.seconds / row.plain_seconds


def test_groups_count_together():
    model = contender("dino_r18_tiny", "group", SMALL).model
    assert matches_per_object(model, make_batch(SMALL)) == 11

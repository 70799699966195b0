"""What schemes cost: counted and measured on a small picture; times are not judged."""

from dataclasses import replace

import torch
from torch import nn

from detassign.bench import schemes
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


def test_inference_is_in_the_precision_of_training(monkeypatch):
    """The plain detector predicts beside the first scheme and is trained on beside the second."""
    seen = {True: [], False: []}  # dtypes that the neck gives, by whether its model is in training

    def watched(*named):
        side = contender(*named)
        convolution = next(module for module in side.model.neck.modules() if isinstance(module, nn.Conv2d))
        convolution.register_forward_hook(lambda _, __, output: seen[side.model.training].append(output.dtype))
        return side

    monkeypatch.setattr(schemes, "contender", watched)
    monkeypatch.setattr(schemes, "extra_bytes", lambda step: 1)
    monkeypatch.setattr(schemes, "matches_per_object", lambda *_: 1.0)  # which is no step
    assert len([*measure("dino_r18_tiny", ["h_detr", "group"], replace(SMALL, precision="bfloat16"))]) == 2
    assert {*seen[True]} == {*seen[False]} == {torch.bfloat16}


def test_groups_count_together():
    model = contender("dino_r18_tiny", "group", SMALL).model
    assert matches_per_object(model, make_batch(SMALL)) == 11

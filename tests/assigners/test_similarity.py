import math

import pytest
import torch

from detassign.assigners import SIMILARITIES

WIDE, FAR = torch.tensor([0.0, 0.0, 8.0, 4.0]), torch.tensor([6.0, 4.0, 10.0, 8.0])
KL = 0.5 * (4 / 16 + 1 + 16 / 16 + 16 / 4 - 2 + math.log(4))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("iou", 0.0),
        ("nwd", math.exp(-6 / 12.7)),
        ("dotd", math.exp(-math.sqrt(32) / 12.7)),
        ("nwd(constant=3)", math.exp(-6 / 3)),
        ("kl", 1 / (1 + KL)),
        ("kl_10", 1 / (10 + KL)),
        ("exp_kl", math.exp(-KL / 10)),
        ("wd", 1 / 37),
    ],
)
def test_similarities_are_these(name, value):
    assert SIMILARITIES.build(name)(WIDE, FAR).item() == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize("name", SIMILARITIES)
def test_a_box_is_most_similar_to_itself(name):
    boxes = torch.tensor([[0.0, 0.0, 8.0, 4.0], [6.0, 4.0, 10.0, 8.0], [1.0, 1.0, 3.0, 9.0]])
    assert SIMILARITIES.build(name)(boxes[:, None], boxes).argmax(-1).tolist() == [0, 1, 2]


@pytest.mark.parametrize("name", ["nwd", "dotd"])
def test_a_constant_is_positive(name):
    with pytest.raises(ValueError, match="constant: expected a positive number, got 0"):
        SIMILARITIES.build(name, constant=0)

"""MobileNetV2: torchvision's, with less kept."""

import copy

import pytest
import torch
from torch import nn

from detassign.detectors import MobileNetV2


def test_mobilenet_gives_three_maps_and_keeps_its_statistics():
    backbone = MobileNetV2(frozen_blocks=2).train()
    maps = backbone(torch.rand(1, 3, 64, 64))
    assert [tuple(m.shape[1:]) for m in maps] == [(32, 8, 8), (96, 4, 4), (320, 2, 2)]
    assert not any(m.training for m in backbone.modules() if isinstance(m, nn.BatchNorm2d))
    frozen = [p.requires_grad for block in backbone.features[:2] for p in block.parameters()]
    assert frozen
    assert not any(frozen)


@pytest.mark.parametrize("norm_eval", [True, False])
def test_maps_gradients_and_statistics_are_torchvisions(norm_eval):
    """Whether norms are folded into the convolutions before them or learn their statistics."""
    ours = MobileNetV2(frozen_blocks=2, norm_eval=norm_eval)
    with torch.no_grad():
        for module in ours.modules():
            if isinstance(module, nn.BatchNorm2d):
                for tensor in (module.weight, module.running_var):
                    tensor.uniform_(0.8, 1.2)
                for tensor in (module.bias, module.running_mean):
                    tensor.normal_(0, 0.2)
    ours.double().train()
    theirs = copy.deepcopy(ours)
    images = torch.randn(2, 3, 64, 96, dtype=torch.double)
    x, expected = images, []
    for index, block in enumerate(theirs.features):
        x = block(x)
        if index in theirs.ends:
            expected.append(x)
    found = ours(images)
    for maps in (expected, found):
        sum(level.square().mean() for level in maps).backward()
    torch.testing.assert_close(found, tuple(expected))
    grown = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        assert (parameter.grad is None) is name.startswith(("features.0.", "features.1."))
        torch.testing.assert_close(parameter.grad, grown[name].grad, msg=name)
    for name, tensor in ours.state_dict().items():
        torch.testing.assert_close(tensor, theirs.state_dict()[name], msg=name)

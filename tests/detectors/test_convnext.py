"""The ConvNeXt backbone in torchvision's layout."""

import pytest
import torch
from torchvision.models import convnext_base, convnext_large, convnext_small, convnext_tiny

from detassign.detectors import ConvNeXt
from detassign.engine.build import load_backbone


def test_maps_have_their_strides_and_channels():
    """Four maps from stride 4 to 32; fewer leave out the fine ones."""
    with torch.no_grad():
        maps = ConvNeXt("tiny", maps=4).eval()(torch.rand(1, 3, 64, 96))
    assert [tuple(m.shape) for m in maps] == [(1, 96, 16, 24), (1, 192, 8, 12), (1, 384, 4, 6), (1, 768, 2, 3)]


def test_torchvisions_weights_load_and_give_torchvisions_features(tmp_path):
    """A classifier's file serves as it is; its last map, normed over the channels, is the classifier's."""
    classifier, backbone = convnext_tiny(weights=None).eval(), ConvNeXt("tiny", maps=1).eval()
    torch.save(classifier.state_dict(), tmp_path / "weights.pth")
    load_backbone(backbone, tmp_path / "weights.pth")
    images = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        wanted = classifier.features(images).movedim(1, -1)
        wanted = torch.nn.functional.layer_norm(wanted, wanted.shape[-1:], eps=1e-6).movedim(-1, 1)
        torch.testing.assert_close(backbone(images)[0], wanted)


@pytest.mark.parametrize("make", [convnext_tiny, convnext_small, convnext_base, convnext_large])
def test_every_size_is_torchvisions(make):
    """XL, which torchvision has not, is the same with other widths."""
    with torch.device("meta"):
        theirs, ours = make(weights=None).features.state_dict(), ConvNeXt(make.__name__[9:]).features.state_dict()
    assert {name: value.shape for name, value in ours.items()} == {name: value.shape for name, value in theirs.items()}


def test_extra_large_has_the_published_size():
    """350.2 million parameters with a classifier of 1000 classes and its norm (arXiv 2201.03545, table 9)."""
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in ConvNeXt("xlarge").features.parameters())
    assert round((count + 2 * 2048 + 2048 * 1000 + 1000) / 1e6, 1) == 350.2


def test_every_parameter_of_fewer_maps_is_used():
    """No norm waits for a map that nobody takes: distributed training would wait for its gradient."""
    backbone = ConvNeXt("tiny", maps=2)
    sum(m.square().sum() for m in backbone(torch.rand(1, 3, 32, 32))).backward()
    assert all(parameter.grad is not None for parameter in backbone.parameters())


@pytest.mark.parametrize("wrong", [{"size": "huge"}, {"maps": 0}, {"maps": 5}])
def test_what_does_not_exist_is_refused(wrong):
    """Unknown sizes and numbers of maps are named."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ConvNeXt(**{"size": "tiny", **wrong})

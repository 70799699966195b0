"""The ConvNeXt backbone in torchvision's layout."""

import pytest
import torch
from torchvision.models import convnext_tiny

from detassign.detectors import ConvNeXt
from detassign.engine.build import load_backbone


def test_maps_have_their_strides_and_channels():
    """Four maps from stride 4 to 32; fewer leave out the fine ones."""
    with torch.no_grad():
        maps = ConvNeXt("tiny", maps=4).eval()(torch.rand(1, 3, 64, 96))
    assert [tuple(m.shape) for m in maps] == [(1, 96, 16, 24), (1, 192, 8, 12), (1, 384, 4, 6), (1, 768, 2, 3)]


def test_torchvisions_weights_load_and_give_torchvisions_features(tmp_path):
    """A classifier's file serves as it is; its last map is the classifier's."""
    classifier, backbone = convnext_tiny(weights=None).eval(), ConvNeXt("tiny", maps=1).eval()
    torch.save(classifier.state_dict(), tmp_path / "weights.pth")
    load_backbone(backbone, tmp_path / "weights.pth")
    images = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(backbone(images)[0], classifier.features(images))


@pytest.mark.parametrize("wrong", [{"size": "huge"}, {"maps": 0}, {"maps": 5}])
def test_what_does_not_exist_is_refused(wrong):
    """Unknown sizes and numbers of maps are named."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ConvNeXt(**{"size": "tiny", **wrong})

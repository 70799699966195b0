"""The folded ResNet: the same as mmdet's and torchvision's, with less kept."""

import pytest
import torch
from torchvision.models import resnet50

from detassign.detectors.resnet import FoldedResNet, ResNet

FROZEN = {"norm_cfg": {"type": "BN", "requires_grad": False}, "norm_eval": True, "style": "pytorch"}


def randomised(model):
    """Statistics and weights of norms that do something."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                for tensor in (module.weight, module.running_var):
                    tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
                for tensor in (module.bias, module.running_mean):
                    tensor.copy_(0.2 * torch.randn(tensor.shape, generator=generator))
    model.train()
    return model


@pytest.mark.parametrize("learning", [False, True])
@pytest.mark.parametrize("depth", [18, 50])
def test_maps_and_gradients_are_those_of_mmdets_resnet(depth, learning):
    """The folded network loads mmdet's state and computes the same, forward and backward; norms may learn their scale."""
    settings = {**FROZEN, "norm_cfg": {"type": "BN", "requires_grad": learning}, "frozen_stages": 1}
    theirs = randomised(ResNet(depth, out_indices=(1, 2, 3), base_channels=16, **settings))
    ours = FoldedResNet(depth, base_channels=16, **settings)
    ours.load_state_dict(theirs.state_dict())
    ours.train()
    images = torch.randn(2, 3, 64, 96)
    for model in (ours, theirs):
        sum(level.square().mean() for level in model(images)).backward()
    for own, other in zip(ours(images), theirs(images), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-5)
    gradients = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    assert (gradients["layer4.0.bn2.weight"] is not None) is learning
    for name, parameter in ours.named_parameters():
        if gradients[name] is None:
            assert parameter.grad is None, name
        else:
            error = (parameter.grad - gradients[name]).norm() / gradients[name].norm()
            assert error < 1e-4, name


def test_a_norm_that_learns_statistics_is_not_folded():
    """Training statistics move as mmdet's do."""
    settings = {"norm_cfg": {"type": "BN"}, "norm_eval": False, "base_channels": 8, "frozen_stages": -1}
    theirs = randomised(ResNet(18, **settings))
    ours = FoldedResNet(18, out_indices=(3,), **settings)
    ours.load_state_dict(theirs.state_dict())
    ours.train()
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(ours(images)[-1], theirs(images)[-1])
    for name, own in ours.state_dict().items():
        torch.testing.assert_close(own, theirs.state_dict()[name], msg=name)


def test_deformable_convolutions_run_as_they_are():
    settings = {**FROZEN, "dcn": {"type": "DCNv2", "deform_groups": 1}, "stage_with_dcn": (False, False, False, True)}
    theirs = randomised(ResNet(50, out_indices=(3,), base_channels=8, **settings))
    ours = FoldedResNet(50, out_indices=(3,), base_channels=8, **settings)
    ours.load_state_dict(theirs.state_dict())
    ours.train()
    images = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(ours(images)[-1], theirs(images)[-1], rtol=1e-4, atol=1e-5)


def test_dc5_is_torchvisions():
    """The first block of the dilated stage keeps dilation 1, as the published checkpoints were trained."""
    theirs = randomised(resnet50(weights=None, replace_stride_with_dilation=[False, False, True])).eval()
    ours = FoldedResNet(50, out_indices=(3,), dc5=True, **FROZEN)
    state = {name: value for name, value in theirs.state_dict().items() if not name.startswith("fc.")}
    ours.load_state_dict(state)
    ours.train()
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        x = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(images))))
        expected = theirs.layer4(theirs.layer3(theirs.layer2(theirs.layer1(x))))
        (found,) = ours(images)
    assert found.shape == (1, 2048, 4, 6)
    assert (found - expected).norm() / expected.norm() < 1e-5


def test_strides_beside_dc5_are_refused():
    with pytest.raises(ValueError, match="strides: expected none with dc5"):
        FoldedResNet(50, dc5=True, strides=(1, 2, 2, 2))


OPTIONS = [
    {"deep_stem": True},
    {"avg_down": True},
    {"with_cp": True},
    {"conv_cfg": {"type": "ConvAWS"}},
    {"norm_cfg": {"type": "BN", "affine": False}},
    {"norm_cfg": {"type": "BN", "track_running_stats": False}},
]


@pytest.mark.filterwarnings("ignore:torch.utils.checkpoint")
@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: next(iter(option)))
def test_what_cannot_be_folded_runs_as_mmdets(option):
    settings = {**FROZEN, "out_indices": (3,), "base_channels": 8, "frozen_stages": -1, **option}
    theirs = ResNet(50, **settings)
    if option.get("norm_cfg") is None:
        randomised(theirs)
    ours = FoldedResNet(50, **settings)
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(2, 3, 64, 64)
    for model in (ours, theirs):
        model.train()
    torch.testing.assert_close(ours(images)[-1], theirs(images)[-1], rtol=1e-4, atol=1e-5)


def test_dc5_of_two_convolution_blocks_dilates_all_but_the_first_block():
    """Depth 18: the dilated convolution of a block is its first one."""
    model = FoldedResNet(18, out_indices=(3,), dc5=True, **FROZEN)
    dilations = [(block.conv1.dilation, block.conv2.dilation) for block in model.layer4]
    assert dilations == [((1, 1), (1, 1)), ((2, 2), (1, 1))]
    assert model(torch.randn(1, 3, 64, 96))[0].shape[-2:] == (4, 6)


def test_a_group_norm_is_not_folded():
    """It has no statistics to fold, in training as in evaluation."""
    settings = {"norm_cfg": {"type": "GN", "num_groups": 4}, "norm_eval": False, "base_channels": 8}
    theirs = ResNet(18, out_indices=(3,), frozen_stages=-1, **settings)
    ours = FoldedResNet(18, out_indices=(3,), frozen_stages=-1, **settings)
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(2, 3, 64, 64)
    for model in (ours, theirs):
        model.eval()
    torch.testing.assert_close(ours(images)[-1], theirs(images)[-1])

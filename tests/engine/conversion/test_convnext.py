"""ConvNeXt backbones under their authors' names, as classifiers and within DINO."""

import pytest
import torch
from torch.nn import functional

from detassign.detectors import ConvNeXt
from detassign.engine.build import load_backbone
from detassign.engine.conversion.official import from_official

DEPTHS, WIDTHS = (3, 3, 9, 3), (96, 192, 384, 768)


def original_state(norms):
    """Random weights of a ConvNeXt-T in the original's names and shapes; `norms` of detectors, or a classifier's end."""
    shapes = {}
    for stage, (depth, width) in enumerate(zip(DEPTHS, WIDTHS, strict=True)):
        before = WIDTHS[stage - 1] if stage else 3
        kernel = (width, before, 2, 2) if stage else (width, before, 4, 4)
        norm, convolution = (1, 0) if stage == 0 else (0, 1)
        normed = before if stage else width
        shapes |= with_bias(f"downsample_layers.{stage}.{convolution}", kernel, width)
        shapes |= with_bias(f"downsample_layers.{stage}.{norm}", (normed,), normed)
        for block in (f"stages.{stage}.{index}" for index in range(depth)):
            shapes |= with_bias(f"{block}.dwconv", (width, 1, 7, 7), width)
            shapes |= with_bias(f"{block}.norm", (width,), width)
            shapes |= with_bias(f"{block}.pwconv1", (4 * width, width), 4 * width)
            shapes |= with_bias(f"{block}.pwconv2", (width, 4 * width), width)
            shapes[f"{block}.gamma"] = (width,)
        if norms:
            shapes |= with_bias(f"norm{stage}", (width,), width)
    if not norms:
        shapes |= with_bias("norm", (WIDTHS[-1],), WIDTHS[-1]) | with_bias("head", (1000, WIDTHS[-1]), 1000)
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator) * 0.1 for name, shape in shapes.items()}


def with_bias(name, shape, width):
    return {f"{name}.weight": shape, f"{name}.bias": (width,)}


def original_maps(state, images):
    """What the original computes: depthwise convolution, norm, two linear layers around GELU, a factor per channel."""

    def weights(name):
        return state[f"{name}.weight"], state[f"{name}.bias"]

    def normed(values, name):
        weight, bias = weights(name)
        return functional.layer_norm(values.movedim(1, -1), weight.shape, weight, bias, 1e-6).movedim(-1, 1)

    maps = []
    for stage, depth in enumerate(DEPTHS):
        if stage == 0:
            images = functional.conv2d(images, *weights("downsample_layers.0.0"), stride=4)
            images = normed(images, "downsample_layers.0.1")
        else:
            images = normed(images, f"downsample_layers.{stage}.0")
            images = functional.conv2d(images, *weights(f"downsample_layers.{stage}.1"), stride=2)
        for block in (f"stages.{stage}.{index}" for index in range(depth)):
            hidden = functional.conv2d(images, *weights(f"{block}.dwconv"), padding=3, groups=WIDTHS[stage])
            hidden = normed(hidden, f"{block}.norm").movedim(1, -1)
            hidden = functional.linear(
                functional.gelu(functional.linear(hidden, *weights(f"{block}.pwconv1"))), *weights(f"{block}.pwconv2")
            )
            images = images + (state[f"{block}.gamma"] * hidden).movedim(-1, 1)
        maps.append(normed(images, f"norm{stage}") if f"norm{stage}.weight" in state else images)
    return maps


def within_dino(state, maps):
    """The same as part of DINO's checkpoint, which has the stem twice, with the projection of the first level."""
    stem = {name.replace("downsample_layers.0", "patch_embed"): t for name, t in state.items() if "layers.0." in name}
    whole = {f"backbone.0.{name}": tensor for name, tensor in (state | stem).items()}
    return whole | {"input_proj.0.0.weight": torch.zeros(256, WIDTHS[-maps], 1, 1)}


@pytest.mark.parametrize("maps", [3, 4])
def test_a_detectors_convnext_computes_what_the_original_computes(maps):
    state, images = original_state(norms=True), torch.rand(1, 3, 64, 64)
    translation = from_official(within_dino(state, maps))
    names = {name for name in translation.state if name.startswith("backbone.")}
    backbone = ConvNeXt("tiny", maps=maps).eval()
    assert names == {f"backbone.{name}" for name in backbone.state_dict()}
    backbone.load_state_dict({name.removeprefix("backbone."): translation.state[name] for name in names})
    with torch.no_grad():
        for ours, theirs in zip(backbone(images), original_maps(state, images)[-maps:], strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("maps", "norms"), [(3, 2), (4, 0)])
def test_what_a_detector_does_not_read_is_dropped_by_name(maps, norms):
    """The stem's second name, and the first norm of DINO with four levels."""
    dropped = from_official(within_dino(original_state(norms=True), maps)).dropped
    assert sum("patch_embed" in name for name in dropped) == 4
    assert sum("norm0" in name for name in dropped) == norms
    assert len(dropped) == 4 + norms


def test_a_classifier_of_its_authors_starts_a_backbone(tmp_path):
    """It has no norms behind its maps: they start as they are made."""
    state, images = original_state(norms=False), torch.rand(1, 3, 64, 64)
    torch.save({"model": state}, tmp_path / "convnext.pth")
    backbone = ConvNeXt("tiny", maps=1).eval()
    load_backbone(backbone, tmp_path / "convnext.pth")
    with torch.no_grad():
        wanted = original_maps(state, images)[-1].movedim(1, -1)
        wanted = functional.layer_norm(wanted, wanted.shape[-1:], eps=1e-6).movedim(-1, 1)
        torch.testing.assert_close(backbone(images)[0], wanted, rtol=1e-4, atol=1e-5)


def test_a_classifier_of_another_size_is_refused(tmp_path):
    torch.save({"model": original_state(norms=False)}, tmp_path / "convnext.pth")
    with pytest.raises(ValueError, match="weights of another network"):
        load_backbone(ConvNeXt("base"), tmp_path / "convnext.pth")

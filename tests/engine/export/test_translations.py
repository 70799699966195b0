"""Ops that are traced as one are in ONNX what they are in torch."""

import pytest
import torch
from torch import Tensor, nn

from detassign.engine.export import onnx_file
from detassign.engine.export.metadata import AXES, LEAST
from detassign.ops import ms_deform_attn, portable_ops
from detassign.ops.suppression import survivors

SHAPES = {
    (): (2, 5, 7),
    AXES[:1]: (3, 5, 7),
    AXES: (1, 6, 4),
}  # of images after the export, above the least, by free axes


class Attention(nn.Module):
    """Seven queries on two levels of (B, 6, H, W): places inside, outside and not finite."""

    outputs = ("read",)

    def forward(self, images: Tensor, sizes: Tensor) -> tuple[Tensor]:
        maps = [images, images[:, :, ::2, ::2]]
        shapes = [(each.shape[2], each.shape[3]) for each in maps]
        value = torch.cat([each.flatten(2) for each in maps], 2).transpose(1, 2).unflatten(-1, (2, 3))
        spread = value[:, :7, :, None, None].expand(-1, -1, -1, 2, 3, -1)
        locations = torch.where(spread[..., :2] > 1.5, torch.inf, spread[..., :2])
        locations = torch.where(locations < -1.5, torch.nan, locations.abs()) / sizes[:, None, None, None, None]
        starts = torch.tensor([0, shapes[0][0] * shapes[0][1]])
        with portable_ops():
            found = ms_deform_attn(value, torch.tensor(shapes), starts, locations, spread[..., 2].sigmoid(), shapes)
        return (found,)


class Suppression(nn.Module):
    """Boxes (B, 6 * H, 4) of three groups."""

    outputs = ("left",)

    def forward(self, images: Tensor, sizes: Tensor) -> tuple[Tensor]:
        rows = images.flatten(1, 2)
        boxes = torch.cat((rows[..., :2], rows[..., :2] + 2), -1)
        groups = torch.arange(rows.shape[1]) % 3
        with portable_ops():
            return (survivors(boxes, rows[..., 2], 0.4, groups, 3),)


class Order(nn.Module):
    """Places of values that are often equal."""

    outputs = ("places",)

    def forward(self, images: Tensor, sizes: Tensor) -> tuple[Tensor]:
        return (images[:, 0, 0].round().argsort(dim=1, descending=True, stable=True),)


@pytest.mark.parametrize("free", SHAPES, ids=["fixed", "batch", "all"])
@pytest.mark.parametrize("module", [Attention, Suppression, Order])
def test_an_op_gives_the_same_as_onnx(module, free, tmp_path):
    pytest.importorskip("onnxscript", reason="onnxscript, which torch writes ONNX with, is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime, which runs ONNX, is not installed")
    network = module()
    onnx_file.trace(network, given(2, 5, 7), free).save(tmp_path / "op.onnx")
    session = runtime.InferenceSession(tmp_path / "op.onnx")
    images, sizes = given(*SHAPES[free])
    wanted = network(images, sizes)[0]
    inputs = {"images": images.numpy(), "sizes": sizes.numpy()}
    found = session.run(None, {each.name: inputs[each.name] for each in session.get_inputs()})
    assert wanted.any()
    torch.testing.assert_close(torch.from_numpy(found[0]), wanted, rtol=0, atol=1e-4)  # 167 cells in float32


def given(batch, height, width):
    """Images of six channels, larger than said by the least, and what places are divided by."""
    images = torch.randn(batch, 6, LEAST + height, LEAST + width, generator=torch.Generator().manual_seed(batch))
    return images, torch.full((batch, 2), 1.5)

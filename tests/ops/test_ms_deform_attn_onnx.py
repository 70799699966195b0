"""The attention in ONNX's terms, and a module around the op exported by both exporters and run by onnx's evaluator."""

import pytest
import torch
from torch import Tensor, nn

from detassign.ops import ms_deform_attn, ms_deform_attn_reference
from detassign.ops._ms_deform_attn_onnx import attend_in_gathers
from detassign.ops._portable import portable

NEEDED = {True: ("onnx", "onnxscript"), False: ("onnx",)}  # by whether torch.export traces, or TorchScript
NAMES = ["value", "queries", "spatial_shapes", "level_start_index"]
CELLS = {"small": [[3, 4], [2, 2]], "large": [[5, 6], [1, 3]]}

pytestmark = [
    pytest.mark.filterwarnings("ignore:You are using the legacy TorchScript-based ONNX export:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The feature will be removed. Please remove usage:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.* is deprecated:FutureWarning"),
]


class Attention(nn.Module):
    """Two heads of four channels, two levels, three points."""

    def __init__(self) -> None:
        super().__init__()
        self.locations, self.weights = nn.Linear(8, 2 * 2 * 3 * 2), nn.Linear(8, 2 * 2 * 3)

    def forward(self, value: Tensor, queries: Tensor, spatial_shapes: Tensor, level_start_index: Tensor) -> Tensor:
        B, Q, _ = queries.shape
        locations = self.locations(queries).view(B, Q, 2, 2, 3, 2) + 0.5
        weights = self.weights(queries).view(B, Q, 2, 6).softmax(-1).view(B, Q, 2, 2, 3)
        return ms_deform_attn(value.view(B, -1, 2, 4), spatial_shapes, level_start_index, locations, weights)


def arguments(images: int, queries: int, cells: str) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(images)
    shapes = torch.tensor(CELLS[cells])
    ends = shapes.prod(1).cumsum(0)
    value = torch.randn(images, int(ends[-1]), 8, generator=generator)
    return value, torch.randn(images, queries, 8, generator=generator), shapes, ends - shapes.prod(1)


def exported(path, dynamo: bool, model: nn.Module, given: tuple[Tensor, ...]) -> str:
    sizes = [{0: "images", 1: "cells"}, {0: "images", 1: "queries"}, {}, {}]
    if dynamo:
        dynamic = {"dynamic_shapes": sizes}
    else:
        dynamic = {"dynamic_axes": dict(zip(NAMES, sizes, strict=True)), "opset_version": 17}
    torch.onnx.export(model, given, str(path), input_names=NAMES, dynamo=dynamo, verbose=False, **dynamic)
    return str(path)


@pytest.mark.parametrize("dynamo", [True, False], ids=["torch.export", "torchscript"])
def test_an_exported_module_gives_the_same_at_other_sizes_too(dynamo, tmp_path):
    for name in NEEDED[dynamo]:
        pytest.importorskip(name, reason=f"{name}, which writes or reads the exported model, is not installed")
    from onnx.reference import ReferenceEvaluator

    torch.manual_seed(0)
    model = Attention().eval()
    path = exported(tmp_path / "model.onnx", dynamo, model, arguments(2, 5, "small"))
    session = ReferenceEvaluator(path)
    assert not portable()
    for sizes in ((2, 5, "small"), (3, 9, "large")):
        given = arguments(*sizes)
        output = session.run(None, {name: tensor.numpy() for name, tensor in zip(NAMES, given, strict=True)})[0]
        torch.testing.assert_close(torch.from_numpy(output), model(*given).detach(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("seed", range(40))
def test_gathers_equal_the_reference(seed):
    generator = torch.Generator().manual_seed(seed)
    B, Q, H, L, P, D = (int(torch.randint(1, most, (), generator=generator)) for most in (3, 9, 4, 5, 6, 9))
    shapes = torch.randint(1, 7, (L, 2), generator=generator)
    starts = shapes.prod(1).cumsum(0) - shapes.prod(1)
    value = torch.randn(B, int(shapes.prod(1).sum()), H, D, generator=generator, dtype=torch.float64)
    locations = torch.rand(B, Q, H, L, P, 2, generator=generator, dtype=torch.float64) * 1.6 - 0.3
    weights = torch.rand(B, Q, H, L, P, generator=generator, dtype=torch.float64)
    case = value, shapes, starts, locations, weights
    torch.testing.assert_close(attend_in_gathers(*case), ms_deform_attn_reference(*case))


def test_gathers_pass_over_broken_locations_and_cells_outside():
    value, shapes, starts = torch.full((1, 5, 1, 2), float("nan")), torch.tensor([[1, 1], [2, 2]]), torch.tensor([0, 1])
    value[:, 1:] = 1
    locations = torch.full((1, 2, 1, 2, 3, 2), float("nan"))
    locations[0, 0, 0, 1] = torch.tensor([[0.5, 0.5], [0.0, 0.0], [float("inf"), 0.5]])
    weights = torch.ones(1, 2, 1, 2, 3)
    want = ms_deform_attn_reference(value, shapes, starts, locations, weights)
    assert want.tolist() == [[[1.25, 1.25], [0, 0]]]
    assert torch.equal(attend_in_gathers(value, shapes, starts, locations, weights), want)

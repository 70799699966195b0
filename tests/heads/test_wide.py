"""What ranks queries and places them keeps its weights' precision under autocast."""

import copy

import pytest
import torch
from torch.nn.functional import linear

from detassign.detectors.transformer.queries import PointQueries
from detassign.engine.export.network import narrow
from detassign.heads import QueryHead
from detassign.heads.wide import WideLinear


def test_autocast_changes_neither_values_nor_gradients():
    torch.manual_seed(0)
    layer, x = WideLinear(16, 3), torch.randn(5, 16).bfloat16().requires_grad_()
    wanted = linear(x.float(), layer.weight, layer.bias)
    gradients = torch.autograd.grad(wanted.square().sum(), [x, *layer.parameters()])
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(x)
    assert found.dtype == torch.float32
    assert torch.equal(found, wanted)
    for mine, theirs in zip(
        torch.autograd.grad(found.square().sum(), [x, *layer.parameters()]), gradients, strict=True
    ):
        assert torch.equal(mine, theirs)


def test_compiled_and_exported_graphs_say_the_same():
    torch.manual_seed(0)
    layer, x = WideLinear(16, 3), torch.randn(5, 16).bfloat16()
    wanted = linear(x.float(), layer.weight, layer.bias).detach()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")(x)
        exported = torch.export.export(layer, (x,)).module()
    assert wanted.dtype == torch.float32
    assert torch.equal(compiled, wanted)
    assert torch.equal(exported(x), wanted)  # outside autocast, as files are run


@pytest.mark.parametrize("assigner", ["hungarian", "dw"])
def test_proposals_of_a_new_head_are_not_level_in_bfloat16(assigner):
    """Their logits lie about -4.6, where bfloat16 has steps of 1/32: a few dozen values for thousands of proposals."""
    torch.manual_seed(0)
    head = QueryHead(5, assigner, channels=32, layers=1, encoder="classes")
    tokens = torch.randn(1, 500, 32).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        logits, _ = head.encoder_predictions(tokens, torch.zeros(1, 500, 4))
        changes = head.encoder_box(tokens)
    assert logits.dtype == changes.dtype == torch.float32
    assert len(head.ranking(logits).amax(-1).unique()) > 490


def test_meta_tensors_pass():
    with torch.autocast("cpu", torch.bfloat16):
        assert WideLinear(4, 3, device="meta")(torch.zeros(2, 4, device="meta")).shape == (2, 3)


def test_learned_points_are_as_wide():
    queries = PointQueries(3, 16)
    with torch.autocast("cpu", torch.bfloat16):
        assert queries.reference(torch.zeros(3, 16)).dtype == torch.float32


def test_half_weights_leave_these_layers_wide():
    torch.manual_seed(0)
    head = QueryHead(5, channels=16, layers=1)
    before = copy.deepcopy(head.classes[0])
    narrow(head)
    assert torch.equal(head.classes[0].weight, before.weight)
    assert {layer.weight.dtype for layer in head.boxes[0].layers[:-1]} == {torch.float16}
    assert head.boxes[0].layers[-1].weight.dtype == torch.float32

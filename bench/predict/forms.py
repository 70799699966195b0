"""How a side predicts: as it is, compiled by torch, or as the ONNX file that `detassign export` writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch import _dynamo, nn

from ...engine.export import onnx_file
from ...engine.export.network import Network
from ...engine.export.padded import PaddedPostProcess
from ..step.conditions import Conditions
from ..step.contender import Contender, wait

Predict = Callable[[Mapping[str, Any]], Any]  # of a batch on the host


def eager(contender: Contender, conditions: Conditions) -> Predict:
    """As it is."""
    model = contender.model.eval()
    device = torch.device(conditions.device)

    def predict(batch: Mapping[str, Any]) -> Any:
        with ExitStack() as stack:
            stack.enter_context(contender.surroundings())
            stack.enter_context(torch.inference_mode())
            narrow = conditions.dtype != torch.float32
            stack.enter_context(torch.autocast(device.type, conditions.dtype, enabled=narrow))
            found = model.test_step(deepcopy(dict(batch)))
            wait(device)
        return found

    return predict


def compiled(contender: Contender, conditions: Conditions) -> Predict:
    """Each part of the network (backbone, neck, encoder, decoder, head, …) by torch.compile; what decides stays as it is."""
    for part in parts_of(contender.model):
        part.compile(dynamic=False)
    return eager(contender, conditions)


@contextmanager
def compiled_afresh() -> Iterator[None]:
    """Nothing that was compiled before counts within, and where torch would give a part up it raises.

    torch keeps what it compiled by the functions' code, which models, batches and precisions share, and after a few of them
    it runs the code as it is, without an error.
    """
    _dynamo.reset()
    with _dynamo.config.patch(fail_on_recompile_limit_hit=True):
        yield


def parts_of(model: nn.Module) -> list[nn.Module]:
    """What a detector is made of: its children with weights; those of the detector within, where another loop wraps one."""
    return [child for child in getattr(model, "detector", model).children() if any(True for _ in child.parameters())]


def onnx(contender: Contender, conditions: Conditions) -> Predict:
    """Our detector as an exported file of this batch and size, run by onnxruntime.

    Raises:
        ValueError: for a GPU and for bfloat16, which such a file does not have.
        ImportError: where what writes or runs ONNX is not installed.
    """
    if conditions.device != "cpu" or conditions.dtype != torch.float32:
        raise ValueError("an exported file runs on the CPU, in float32")
    model = contender.model.eval()
    height, width = conditions.size
    sizes = torch.tensor([[width, height]], dtype=torch.float).repeat(conditions.batch, 1)
    network = Network(deepcopy(model), PaddedPostProcess(model.post_process))
    program = onnx_file.trace(network, (torch.rand(conditions.batch, 3, height, width), sizes), ())
    session = onnx_file.session(program.model_proto.SerializeToString())

    def predict(batch: Mapping[str, Any]) -> list[np.ndarray]:
        images = model.data_preprocessor(deepcopy(dict(batch)), False)["inputs"]
        return session.run(None, {"images": images.contiguous().numpy(), "sizes": sizes.numpy()})

    return predict


FORMS: Mapping[str, Callable[[Contender, Conditions], Predict]] = {"eager": eager, "compiled": compiled, "onnx": onnx}
OURS_ALONE = frozenset({"onnx"})  # forms that this package makes of its own detectors

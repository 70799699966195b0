"""ONNX: one file with weights and metadata, run by onnxruntime."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...evidence.words import in_one_line
from ...ops._portable import whole_ops
from .metadata import KEY, Metadata, parse
from .network import Network
from .tracing import traced
from .translations import translations

TRUSTED = True  # a graph of operators; nothing in it is code, and what it names outside is refused


def trace(network: Network, example: tuple[Tensor, Tensor], free: Sequence[str]) -> torch.onnx.ONNXProgram:
    """The network's graph in ONNX's operators.

    Raises:
        ImportError: where what writes or reads ONNX is not installed.
    """
    _check_installed("onnx", "onnx_ir", "onnxscript", "onnxruntime")
    with warnings.catch_warnings(), whole_ops():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            traced(network, example, free),
            dynamo=True,
            input_names=["images", "sizes"],
            output_names=list(network.outputs),
            custom_translation_table=translations(),
            optimize=False,
            verbose=False,
        )
    _tidy(program.model)
    return program


def save(program: torch.onnx.ONNXProgram, path: Path, metadata: Metadata) -> None:
    """Write a graph, and what the file says of itself."""
    program.model.metadata_props[KEY] = metadata.text()
    program.model.producer_name = "detassign"
    program.save(path, external_data=False)


def _tidy(model: Any) -> None:
    """Fold what is constant and drop what nobody reads.

    onnxscript's own optimizer also looks for patterns to fuse, which takes most of an export, as it compares every node with
    every other; onnxruntime fuses when it loads a file.
    """
    import onnx_ir.passes.common as passes
    from onnx_ir.passes import Sequential
    from onnxscript.optimizer import fold_constants

    passes.InlinePass()(model)
    fold_constants(model)
    Sequential(
        passes.RemoveUnusedNodesPass(),
        passes.RemoveUnusedFunctionsPass(),
        passes.RemoveUnusedOpsetsPass(),
        passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        passes.LiftSubgraphInitializersToMainGraphPass(),
        passes.DeduplicateInitializersPass(),
        passes.CommonSubexpressionEliminationPass(),
        passes.OutputFixPass(),
        passes.NameFixPass(),
    )(model)


def read(path: Path) -> tuple[Metadata, Callable[[np.ndarray, np.ndarray], list[np.ndarray]]]:
    """What the file says of itself, and what runs it on images (B, 3, H, W) and sizes (B, 2), both float32.

    Raises:
        ValueError: for a file that is no ONNX, not of `detassign export`, or that names files outside of it.
    """
    _check_installed("onnx", "onnxruntime")
    import onnx

    content = path.read_bytes()
    try:
        model = onnx.load_from_string(content)
    except Exception as error:  # a hostile file can make the parser fail in any way
        raise ValueError(f"{path}: no ONNX file, or a damaged one") from error
    about = parse({each.key: each.value for each in model.metadata_props}.get(KEY), path)
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in _tensors(model)):
        raise ValueError(f"{path}: its weights lie in another file, which is not opened; export it again")
    try:
        running = session(content)
    except Exception as error:
        raise ValueError(f"{path}: onnxruntime cannot run it ({in_one_line(error)})") from error
    return about, lambda images, sizes: running.run(list(about.outputs), {"images": images, "sizes": sizes})


def _check_installed(*names: str) -> None:
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(
            f"ONNX needs {', '.join(missing)}; install what is missing with: pip install 'detassign[export]'"
        )


def session(content: bytes) -> Any:
    """What runs a file: with as many threads as torch uses, and no word about operators that it turns into others."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(content, options)


def _tensors(model: Any) -> Iterator[Any]:
    """Every tensor in the file, those of inner graphs and functions included."""
    nodes, graphs = [node for function in model.functions for node in function.node], [model.graph]
    while graphs or nodes:
        if graphs:
            graph = graphs.pop()
            yield from graph.initializer
            for sparse in graph.sparse_initializer:
                yield from (sparse.values, sparse.indices)
            nodes.extend(graph.node)
            continue
        for attribute in nodes.pop().attribute:
            yield from (attribute.t, *attribute.tensors)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
            if attribute.HasField("g"):
                graphs.append(attribute.g)
            graphs.extend(attribute.graphs)

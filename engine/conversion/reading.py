"""Opening other projects' checkpoints: where the weights are, and what the file says of itself. Nothing in it is run."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from ...compat import is_state, safe_load

PLACES = ("model", "state_dict", "ema_model")


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds.

    Attributes:
        state: name -> tensor, as saved, without "module." in front.
        classes: names of its classes, or None where it does not say.
        model: description of the model in an mmdet config, or {}.
    """

    state: dict[str, Tensor]
    classes: tuple[str, ...] | None = None
    model: dict[str, Any] = field(default_factory=dict)


def read_checkpoint(path: Path, ema: bool = False) -> Checkpoint:
    """The weights of a file, whatever key they are under.

    Args:
        path: of a checkpoint of PyTorch's.
        ema: the averaged weights that lie beside the usual ones.

    Raises:
        FileNotFoundError, ValueError: when the file is missing, unsafe, or holds no weights.
    """
    loaded = safe_load(path)
    if not isinstance(loaded, dict):
        raise ValueError(f"{path}: expected a dict with a model's weights, got {type(loaded).__name__}")
    places = ("ema_model",) if ema else PLACES
    state = next((loaded[place] for place in places if is_state(loaded.get(place))), None)
    if state is None and not ema and is_state(loaded):
        state = loaded
    if state is None:
        raise ValueError(f"{path}: expected a dict of tensors under {' or '.join(places)}; it has {_keys(loaded)}")
    check_sizes(state, path)
    meta = loaded.get("meta")
    meta = meta if isinstance(meta, dict) else {}
    return Checkpoint({_bare(name): tensor for name, tensor in state.items()}, _classes(meta), _model(meta))


def check_sizes(state: Mapping[str, Tensor], path: Path) -> None:
    """Raise ValueError for a tensor that claims to be larger than what the file holds of it: a view of a few numbers may
    claim any size."""
    for name, tensor in state.items():
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise ValueError(f"{path}: {name} claims {tensor.numel()} numbers and holds fewer; expected a plain tensor")


def model_description(text: str) -> dict[str, Any]:
    """The model of an mmdet config, read off its text without running it; {} where there is none.

    >>> model_description("model = dict(type='FCOS', backbone=dict(depth=50, out=(1, 2)))")
    {'type': 'FCOS', 'backbone': {'depth': 50, 'out': (1, 2)}}
    """
    try:
        assignments = [node for node in ast.parse(text).body if isinstance(node, ast.Assign)]
        values = [node.value for node in assignments if [ast.unparse(t) for t in node.targets] == ["model"]]
        found = _literal(values[-1]) if values else {}
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}
    return found if isinstance(found, dict) else {}


def _literal(node: ast.expr) -> Any:
    """The value of a literal in which `dict(key=...)` may stand for a dict."""
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "dict" and not node.args:
        return {str(keyword.arg): _literal(keyword.value) for keyword in node.keywords}
    if isinstance(node, ast.List | ast.Tuple):
        items = [_literal(item) for item in node.elts]
        return items if isinstance(node, ast.List) else tuple(items)
    return ast.literal_eval(node)


def _bare(name: str) -> str:
    while name.startswith("module."):
        name = name.removeprefix("module.")
    return name


def _keys(loaded: Mapping[Any, Any]) -> str:
    return ", ".join(map(str, list(loaded)[:6])) or "nothing"


def _classes(meta: Mapping[str, Any]) -> tuple[str, ...] | None:
    """mmdet 2 writes CLASSES, mmdet 3 dataset_meta with either spelling."""
    data = meta.get("dataset_meta")
    data = data if isinstance(data, dict) else {}
    names = meta.get("CLASSES") or data.get("classes") or data.get("CLASSES")
    if not isinstance(names, tuple | list) or not all(isinstance(name, str) for name in names):
        return None
    return tuple(names)


def _model(meta: Mapping[str, Any]) -> dict[str, Any]:
    """mmdet 2 writes its config as config, mmdet 3 as cfg."""
    text = meta.get("cfg") or meta.get("config")
    return model_description(text) if isinstance(text, str) else {}

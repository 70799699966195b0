"""Opening checkpoints, ours and others': where the weights are, and what the file says of itself. Nothing in it is run."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...compat import is_state, safe_load
from ...data.files import read_json

PLACES = ("state_dict", "model", "model_state_dict")
AVERAGED = ("ema_model", "ema_state_dict", "model_ema", "state_dict_ema", "ema_state", "ema")
WRAPPERS = re.compile(r"^(module\.)+|\b_orig_mod\.")  # of parallel and of compiled models
OUTER = "model."  # in front of every name where the detector is part of something that trains it
BESIDE = "config.json"  # what transformers writes beside the weights
LARGEST = 2**20  # bytes of such a file that are read
COUNTERS = {"n_averaged", "steps"}  # what averaging counts beside its weights


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds.

    Attributes:
        state: name -> tensor, without what wrappers put in front of every name.
        classes: names of its classes, or None where it does not say.
        model: description of the model in an mmdet config, or {}.
        place: the key that the weights are under; "" for a bare state dict.
    """

    state: dict[str, Tensor]
    classes: tuple[str, ...] | None = None
    model: dict[str, Any] = field(default_factory=dict)
    place: str = ""

    @property
    def averaged(self) -> bool:
        """Whether these are averages of weights."""
        return self.place in AVERAGED


def read_checkpoint(path: Path, ema: bool = False) -> Checkpoint:
    """The weights of a file, whatever key they are under.

    Args:
        path: of a checkpoint of PyTorch's or safetensors'.
        ema: the averaged weights that lie beside the usual ones; where these are alone they are taken anyway.

    Raises:
        FileNotFoundError, ValueError: when the file is missing, unsafe, or holds no weights.
    """
    found = weights_of(safe_load(path), path, ema)
    return found if found.classes is not None else replace(found, classes=labels_beside(path))


def weights_of(loaded: Any, path: Path, ema: bool = False) -> Checkpoint:
    """The weights in what a file holds.

    Raises:
        ValueError: when there are none.
    """
    if not isinstance(loaded, dict):
        raise ValueError(f"{path}: expected a dict with a model's weights, got {type(loaded).__name__}")
    places = AVERAGED if ema else (*PLACES, *AVERAGED)
    place, state = next(((key, state) for key in places if (state := _state_in(loaded.get(key)))), ("", None))
    if state is None and not ema:
        state = _state_in(loaded)
    if state is None:
        raise ValueError(f"{path}: expected a dict of tensors under {' or '.join(places)}; it has {_keys(loaded)}")
    check_sizes(state, path)
    bare, meta = _bare(state), loaded.get("meta")
    if len(bare) < len(state):
        raise ValueError(f"{path}: holds some tensors twice, with 'module.' in front of their names and without")
    meta = meta if isinstance(meta, dict) else {}
    return Checkpoint(bare, _classes(meta), _model(meta), place)


def labels_beside(path: Path) -> tuple[str, ...] | None:
    """Names of the classes in the config that transformers saves beside its weights; None where it says none."""
    beside = path.parent / BESIDE
    try:
        names = read_json(beside, LARGEST)["id2label"]
        rows = [names[str(row)] for row in range(len(names))]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    named = all(isinstance(name, str) for name in rows) and rows != [f"LABEL_{row}" for row in range(len(rows))]
    return tuple(rows) if rows and named else None


def check_finite(state: Mapping[str, Tensor], path: Path) -> None:
    """Raise ValueError when training had gone wrong before the weights were written."""
    broken = [name for name, tensor in state.items() if not tensor.isfinite().all()]
    if broken:
        raise ValueError(
            f"{path}: {len(broken)} tensors hold NaN or infinity, such as {broken[0]}; take an earlier one"
        )


def check_sizes(state: Mapping[str, Tensor], path: Path) -> None:
    """Raise ValueError for a tensor that claims to be larger than what the file holds of it (a view of a few numbers may
    claim any size), and for one that is not plain numbers side by side."""
    for name, tensor in state.items():
        if tensor.layout is not torch.strided or tensor.is_quantized or tensor.device.type == "meta":
            raise ValueError(f"{path}: {name} is sparse, quantized or without numbers; expected a plain tensor")
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


def _state_in(value: Any) -> dict[str, Tensor] | None:
    """A state dict, or the one inside an averaged model's, without counters."""
    if isinstance(value, dict) and is_state(value.get("module")):
        value = value["module"]
    if not is_state(value):
        return None
    return {name: tensor for name, tensor in value.items() if name not in COUNTERS} or None


def _bare(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names without what parallel, compiled and wrapping models put in front."""
    bare = {WRAPPERS.sub("", name): tensor for name, tensor in state.items()}
    if all(name.startswith(OUTER) for name in bare):
        return {name.removeprefix(OUTER): tensor for name, tensor in bare.items()}
    return bare


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

"""Which compiled ops mmcv asks for, what serves each here, and which of mmdet's configs need it.

All is read from the source of mmcv, mmdet and this package, so that no list has to be kept. A config needs what the
types in its model may use; a branch that it does not take counts too.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from .mmcv_ext import SERVED_OPS, mmcv_flavour
from .source_graph import Definition, SourceGraph, parse, statements, type_names

__all__ = ["OpCoverage", "model_types", "op_coverage"]

OPS = f"{__package__.rpartition('.')[0]}.ops"


class OpCoverage(NamedTuple):
    """What serves an op of ``mmcv._ext``, None where nothing does, and mmdet's configs that need it, as FAMILY/NAME."""

    served_by: str | None
    configs: list[str]


def op_coverage() -> dict[str, OpCoverage]:
    """Every op that mmcv's Python asks its extension for, by name.

    Raises:
        ModuleNotFoundError: when mmcv or mmdet is not installed.
    """
    graph = SourceGraph({name: _folder(name) for name in ("mmcv", "mmdet")})
    asked = {module: ops for module, tree in graph.trees.items() if (ops := set(_asked(tree)))}
    server = (lambda _: "mmcv") if mmcv_flavour() == "full" else _server
    needed: dict[str, list[str]] = {op: [] for op in sorted(set().union(*asked.values()))}
    called = cache(lambda definition: _called(graph, definition, asked.get(definition.module, set())))
    ops_of = cache(lambda name: set().union(*map(called, graph.reached(graph.named([name])))))
    for config, types in model_types().items():
        for op in set().union(*map(ops_of, types)):
            needed[op].append(config)
    return {op: OpCoverage(server(op), configs) for op, configs in needed.items()}


def model_types() -> dict[str, set[str]]:
    """The types that the model of each config of mmdet names, itself or in the configs it builds on.

    Empty where mmdet was installed without its configs. Those without a model of their own or inherited are left out.
    """
    root = _folder("mmdet") / ".mim" / "configs"
    types = cache(lambda path: _types(path, types))
    files = [path for path in sorted(root.rglob("*.py")) if path.relative_to(root).parts[0] != "_base_"]
    return {path.relative_to(root).with_suffix("").as_posix(): found for path in files if (found := types(path))}


def _folder(package: str) -> Path:
    """Where a package lies; it is not imported."""
    found = find_spec(package)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)
    return Path(found.origin).parent


def _asked(tree: ast.Module) -> Iterator[str]:
    """The names in the calls of ``load_ext``."""
    for call in (statement.value for statement in statements(tree) if isinstance(statement, ast.Assign)):
        if isinstance(call, ast.Call) and getattr(call.func, "attr", "") == "load_ext":
            yield from ast.literal_eval(call.args[1])


def _called(graph: SourceGraph, definition: Definition, ops: set[str]) -> set[str]:
    """Those of the ops that a definition names as attributes, as in ``ext_module.nms``."""
    if not ops:
        return set()
    return {getattr(node, "attr", "") for body in graph.bodies(definition) for node in ast.walk(body)} & ops


def _server(op: str) -> str | None:
    """What the code that serves an op rests on."""
    if op not in SERVED_OPS:
        return None
    graph = _own_source()
    reached = graph.reached([Definition(SERVED_OPS[op].__module__, op)])
    nodes = [node for definition in reached for body in graph.bodies(definition) for node in ast.walk(body)]
    if any("torchvision" in (getattr(node, "id", ""), getattr(node, "attr", "")) for node in nodes):
        return "torchvision"
    return "detassign.ops" if any(definition.module.startswith(OPS) for definition in reached) else "torch"


@cache
def _own_source() -> SourceGraph:
    """This folder and ``ops``."""
    return SourceGraph({package: _folder(package) for package in (__package__, OPS)})


def _types(path: Path, types_of_base: Callable[[Path], set[str]]) -> set[str]:
    if not path.exists():  # some of mmdet's configs build on files that it does not have
        return set()
    body = parse(path).body
    nodes = [node for statement in _about_the_model(body) for node in ast.walk(statement)]
    bases = [types_of_base((path.parent / base).resolve()) for base in _bases(body)]
    return set().union(*map(type_names, nodes), *bases)


def _bases(body: list[ast.stmt]) -> list[str]:
    """The text in ``_base_ = ...``."""
    given = [node for statement in body if "_base_" in _assigned(statement) for node in ast.walk(statement)]
    return [node.value for node in given if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def _about_the_model(body: list[ast.stmt]) -> list[ast.stmt]:
    """The statements that mention the model, and those that set what they read."""
    read, about = {"model"}, []
    for statement in reversed(body):
        names = {getattr(node, "id", getattr(node, "attr", "")) for node in ast.walk(statement)}
        if "model" in names or read & _assigned(statement):
            about.append(statement)
            read |= names
    return about


def _assigned(statement: ast.stmt) -> set[str]:
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    return {target.id for target in targets if isinstance(target, ast.Name)}

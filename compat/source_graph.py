"""Which top-level definitions of Python packages name which others, read from their source; nothing is imported.

Classes that configs name by ``type`` are found under their own names and under those they are registered as. What is
reached that way may be used: whether a branch is taken is not known here.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

__all__ = ["Definition", "SourceGraph", "parse", "statements", "type_names"]


class Definition(NamedTuple):
    """A top-level class, function or variable."""

    module: str
    name: str


class SourceGraph:
    """The definitions of some packages and the names in them.

    Args:
        packages: name of each package, as it is imported, and its folder.
    """

    def __init__(self, packages: dict[str, Path]) -> None:
        sources = [(name, path) for package, root in packages.items() for name, path in _sources(package, root)]
        self.trees = {name.removesuffix(".__init__"): parse(path) for name, path in sources}
        self._bodies: dict[Definition, list[ast.stmt]] = {}
        self._imports: dict[Definition, Definition] = {}
        self._known_as: dict[str, set[Definition]] = {}
        self._named_by = cache(self._read_names)
        for (name, _), (module, tree) in zip(sources, self.trees.items(), strict=True):
            self._imports |= {Definition(module, alias): origin for alias, origin in _imported(name, tree)}
            for statement in statements(tree):
                self._add(module, statement)

    def _add(self, module: str, statement: ast.stmt) -> None:
        for name in _defined(statement):
            definition = Definition(module, name)
            self._bodies.setdefault(definition, []).append(statement)
            for known_as in {name, *_registered_names(statement)}:
                self._known_as.setdefault(known_as, set()).add(definition)

    def named(self, type_names: Iterable[str]) -> set[Definition]:
        """What the types of a config may mean."""
        return set().union(*(self._known_as.get(name, ()) for name in type_names))

    def bodies(self, definition: Definition) -> list[ast.stmt]:
        """The statements that define it; several where a condition chooses between them."""
        return self._bodies[definition]

    def reached(self, starts: Iterable[Definition]) -> set[Definition]:
        """The definitions and all that they name, directly or through others."""
        found, ahead = set(starts), list(starts)
        while ahead:
            new = self._named_by(ahead.pop()) - found
            found |= new
            ahead += new
        return found

    def _read_names(self, definition: Definition) -> set[Definition]:
        names: set[Definition | None] = set()
        for node in (node for body in self._bodies[definition] for node in _used(body)):
            if isinstance(node, ast.Name):
                names.add(self._resolve(Definition(definition.module, node.id)))
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                names.add(self._resolve_in_module(Definition(definition.module, node.value.id), node.attr))
            names |= self.named(type_names(node))
        return {name for name in names if name is not None}

    def _resolve(self, name: Definition) -> Definition | None:
        """What a name in a module stands for, through imports and re-exports; None where that is elsewhere."""
        seen = set()
        while name not in self._bodies:
            if name in seen or name not in self._imports:
                return None
            seen.add(name)
            name = self._imports[name]
        return name

    def _resolve_in_module(self, module: Definition, name: str) -> Definition | None:
        """``module.name`` where the module was imported as ``module.name`` says."""
        origin = self._imports.get(module)
        return origin and self._resolve(Definition(f"{origin.module}.{origin.name}".strip("."), name))


def parse(path: Path) -> ast.Module:
    """The source of a file; what Python would warn of in it is its authors' concern."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(path.read_text(encoding="utf-8"), str(path))


def statements(node: ast.AST) -> Iterator[ast.stmt]:
    """The statements of a module, also those under its conditions and tries."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt):
            yield child
        if isinstance(child, ast.If | ast.Try | ast.ExceptHandler):
            yield from statements(child)


def type_names(node: ast.AST) -> set[str]:
    """The text given for ``type`` in a call, a dict or a default of ``get`` and ``pop``, if the node is one of these."""
    pairs: list[tuple[object, ast.AST | None]] = []
    if isinstance(node, ast.Dict):
        pairs = [(getattr(key, "value", None), value) for key, value in zip(node.keys, node.values, strict=True)]
    elif isinstance(node, ast.Call):
        pairs = [(keyword.arg, keyword.value) for keyword in node.keywords]
        if len(node.args) == 2:
            pairs.append((getattr(node.args[0], "value", None), node.args[1]))
    values = {getattr(value, "value", None) for key, value in pairs if key == "type"}
    return {value for value in values if isinstance(value, str)}


def _sources(package: str, root: Path) -> Iterator[tuple[str, Path]]:
    """The files of a package, each with its dotted name; hidden folders hold none."""
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if not any(part.startswith(".") for part in parts):
            yield ".".join((package, *parts)), path


def _defined(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return [statement.name]
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _registered_names(statement: ast.stmt) -> Iterator[str]:
    """The names given to ``register_module`` where it decorates the statement."""
    for decorator in getattr(statement, "decorator_list", []):
        if isinstance(decorator, ast.Call) and getattr(decorator.func, "attr", "") == "register_module":
            given = [*decorator.args[:1], *(keyword.value for keyword in decorator.keywords if keyword.arg == "name")]
            yield from (name.value for name in given if isinstance(name, ast.Constant) and isinstance(name.value, str))


def _imported(source: str, tree: ast.Module) -> Iterator[tuple[str, Definition]]:
    """Every import, wherever it stands in the file: the name it binds, and where that comes from."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            above = source.split(".")[: -node.level] if node.level else []
            module = ".".join(filter(None, (*above, node.module)))
            yield from ((alias.asname or alias.name, Definition(module, alias.name)) for alias in node.names)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                module, _, name = (alias.name if alias.asname else alias.name.partition(".")[0]).rpartition(".")
                yield alias.asname or name, Definition(module, name)


def _used(node: ast.AST) -> Iterator[ast.AST]:
    """A node and all below it, but for annotations and the classes that ``isinstance`` is asked about."""
    yield node
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "isinstance":
        yield from _used(node.args[0])
        return
    for field, value in ast.iter_fields(node):
        if field not in ("annotation", "returns"):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from _used(child)

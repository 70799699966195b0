"""What is to happen right after a module's import, whoever imports it first.

Nothing is imported for it: whoever needs no mmdet does not wait for it.
"""

import sys
from collections.abc import Callable, Mapping
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

Action = Callable[[], None]


def after_import(actions: Mapping[str, Action]) -> None:
    """Run an action right after the module of its name is first imported, or now if it is there already.

    Args:
        actions: by the module's dotted name; harmless when they run again.
    """
    for name in actions.keys() & sys.modules.keys():
        actions[name]()
    finder = AfterImport(actions)
    if finder not in sys.meta_path:
        sys.meta_path.insert(0, finder)


class AfterImport(MetaPathFinder):
    """Finds the named modules where they are always found, and has them loaded with the action behind."""

    def __init__(self, actions: Mapping[str, Action]) -> None:
        self.actions = dict(actions)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AfterImport) and self.actions == other.actions

    __hash__ = None

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name not in self.actions:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Followed(spec.loader, self.actions[name])
        return spec


class _Followed(Loader):
    """A loader, then the action; the module knows the loader alone."""

    def __init__(self, loader: Loader, action: Action) -> None:
        self.loader = loader
        self.action = action

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = module.__spec__.loader = self.loader
        self.loader.exec_module(module)
        self.action()

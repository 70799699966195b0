"""Names for matchings, weightings, score models and whole assigners: a name maps to a class, building changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from inspect import signature
from typing import Any


class Registry(Mapping[str, Callable[..., Any]]):
    """A read-mostly mapping of names to callables with helpful errors.

    >>> shapes = Registry("shape")
    >>> @shapes.register("box")
    ... def make_box(side: int = 1) -> str:
    ...     return f"box of {side}"
    >>> shapes.build("box", side=2)
    'box of 2'
    >>> shapes["bix"]
    Traceback (most recent call last):
    ...
    ValueError: unknown shape 'bix'; did you mean 'box'? known: box
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, Callable[..., Any]] = {}

    def register(self, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Decorator: give a class or function a name.

        Raises:
            ValueError: when another one has that name.
        """

        def add(entry: Callable[..., Any]) -> Callable[..., Any]:
            taken = self._entries.get(name)
            if taken is not None and (taken.__module__, taken.__qualname__) != (entry.__module__, entry.__qualname__):
                raise ValueError(
                    f"{self.kind} {name!r} is already registered by {taken.__module__}.{taken.__qualname__}"
                )
            self._entries[name] = entry
            return entry

        return add

    def __getitem__(self, name: str) -> Callable[..., Any]:
        if name not in self._entries:
            raise ValueError(unknown_name(self.kind, name, self._entries))
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries))

    def __len__(self) -> int:
        return len(self._entries)

    def build(self, spec: str | Mapping[str, Any] | Any, **context: Any) -> Any:
        """An object from a name, from a dict with a "type" and arguments, or the object itself if it is one already.

        Args:
            spec: "name", {"type": "name", ...arguments}, or a finished object.
            context: values offered to entries that have a parameter of that name (num_classes, say).

        Raises:
            ValueError: for an unknown name or an argument that the entry does not take.
        """
        if isinstance(spec, str):
            spec = {"type": spec}
        if not isinstance(spec, Mapping):
            return spec
        name = spec.get("type")
        if name is None:
            raise ValueError(f"{self.kind}: expected a name or a dict with a 'type', got {dict(spec)}")
        entry = self[name]
        accepted = signature(entry).parameters
        arguments = {key: value for key, value in context.items() if key in accepted}
        arguments.update({key: value for key, value in spec.items() if key != "type"})
        unknown = [key for key in arguments if key not in accepted]
        if unknown:
            raise ValueError(unknown_name(f"parameter of {self.kind} {name!r}", unknown[0], list(accepted)))
        return entry(**arguments)


def unknown_name(kind: str, name: object, known: Mapping[str, Any] | list[str]) -> str:
    """One sentence about a name that is not there, with the nearest that are."""
    close = get_close_matches(str(name), list(known), n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else ";"
    return f"unknown {kind} {name!r}{hint} known: {', '.join(sorted(known))}"


MATCHINGS = Registry("matching")
WEIGHTINGS = Registry("weighting")
SCORES = Registry("score model")
QUALITIES = Registry("localisation quality")
BOX_LOSSES = Registry("box loss")
ASSIGNERS = Registry("assigner")

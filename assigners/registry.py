"""Names for matchings, weightings, score models, whole assigners: a name maps to a class, building changes nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import SequenceMatcher
from functools import lru_cache
from inspect import Parameter, formatannotation, signature
from itertools import chain
from numbers import Integral, Real
from typing import Any, NamedTuple, TypeVar

from .description import self_describing, shown
from .needs import needs_of
from .spec import PARTS, Part, files, module_name, parse

Entry = TypeVar("Entry", bound=Callable[..., Any])


class Weighted(NamedTuple):
    """A part with its coefficient in a sum."""

    part: Any
    weight: float

    @property
    def needs(self) -> frozenset[str]:
        """What the part needs of the predictions."""
        return needs_of(self.part)

    def __repr__(self) -> str:
        return f"{self.weight:g} * {shown(self.part)}"


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

    def __init__(self, kind: str, given: Sequence[str] = ()) -> None:
        """given: parameters that are no choice, since whoever builds an entry gives them."""
        self.kind = kind
        self.given = frozenset(given)
        self._entries: dict[str, Callable[..., Any]] = {}

    def register(self, name: str) -> Callable[[Entry], Entry]:
        """Decorator: give a class or function a name; a class without a `__repr__` gets one that shows its constants.

        Raises:
            ValueError: when another one has that name, or no spec could say it.
        """
        if not name.isidentifier():
            raise ValueError(
                f"{self.kind} {name!r}: expected letters, digits and _ only, so that specs can say the name"
            )

        def add(entry: Entry) -> Entry:
            taken = self._entries.get(name)
            if taken is not None and (taken.__module__, taken.__qualname__) != (entry.__module__, entry.__qualname__):
                raise ValueError(
                    f"{self.kind} {name!r} is already registered by {taken.__module__}.{taken.__qualname__}"
                )
            self._entries[name] = self_describing(entry)
            return entry

        return add

    def __getitem__(self, name: str) -> Callable[..., Any]:
        if name not in self:
            raise ValueError(unknown_name(self.kind, name, self._entries))
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        """Whether the name is registered, by an installed plugin if need be."""
        if name not in self._entries:
            from .plugins import load_plugins  # which use this module

            load_plugins()
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries))

    def __len__(self) -> int:
        return len(self._entries)

    def build(self, spec: str | Mapping[str, Any] | Any, **context: Any) -> Any:
        """An object from a spec, from a dict with a "type" and arguments, or the object itself if it is one already.

        Args:
            spec: "name", "name(argument=value)", {"type": "name", ...arguments}, or a finished object.
            context: values offered to entries that have a parameter of that name (num_classes, say).

        Raises:
            ValueError: for an unknown name, an argument that the entry does not take or cannot use, or one that it misses.
        """
        if isinstance(spec, str):
            spec = self.describe(spec)
        if not isinstance(spec, Mapping):
            if not callable(spec):
                raise ValueError(f"{self.kind}: expected a name, a dict with a 'type' or a finished one, got {spec!r}")
            return spec
        name = spec.get("type")
        if name is None:
            raise ValueError(f"{self.kind}: expected a name or a dict with a 'type', got {dict(spec)}")
        entry = self[name]
        accepted, open_ended = _parameters(entry)
        choices = [key for key in accepted if key not in self.given]
        arguments = {key: value for key, value in context.items() if key in accepted}
        arguments.update({key: value for key, value in spec.items() if key != "type"})
        unknown = [key for key in spec if key in self.given or (key not in (*choices, "type") and not open_ended)]
        if unknown:
            raise ValueError(unknown_name(f"parameter of {self.kind} {name!r}", unknown[0], choices))
        missing = [key for key, value in accepted.items() if value.default is Parameter.empty and key not in arguments]
        if missing:
            raise ValueError(f"{self.kind} {name!r}: expected the parameter {missing[0]!r}, got {sorted(arguments)}")
        try:
            built = entry(**arguments)  # which may say what is wrong in better words
        except TypeError as error:  # a text where a number belongs
            self._check_types(spec, accepted)
            chosen = {key: value for key, value in arguments.items() if key not in self.given}
            raise ValueError(f"{self.kind} {name!r}: cannot be made of {chosen} ({error})") from error
        self._check_types(spec, accepted)
        return built

    def _check_types(self, spec: Mapping[str, Any], accepted: Mapping[str, Parameter]) -> None:
        """Refuse a value of another type than its parameter's, which would only be noticed in use."""
        for key, value in spec.items():
            if key in accepted and not _suits(value, accepted[key]):
                wanted = formatannotation(accepted[key].annotation).strip("'")
                raise ValueError(f"{self.kind} {spec['type']!r}: expected {wanted} for {key}, got {value!r}")

    def describe(self, spec: str | Part) -> dict[str, Any]:
        """The dict of a spec of one part, {"type": name, ...arguments}, all arguments by name.

        Raises:
            ValueError: for text that is no spec, an unknown name, several parts, too many arguments without a name.

        >>> MATCHINGS.describe("top_k(center_prior(sigma=1.5), 9)")
        {'type': 'top_k', 'matching': {'type': 'center_prior', 'sigma': 1.5}, 'k': 9}
        """
        if isinstance(spec, str):
            first, *others = parse(spec, self.kind)
            if others:
                raise ValueError(f"{self.kind} {spec!r}: expected one name, got {1 + len(others)} joined by +")
            spec = first
        if not spec.file:
            _ = self[spec.name]  # refused here, where it is named
        return _describe(spec, self.kind, (self,))

    def parameters(self, name: str) -> list[str]:
        """The parameters of an entry in the order in which a spec may give them; the number of classes is no choice."""
        no_choice = {"num_classes", *self.given}
        return [parameter for parameter in _parameters(self[name])[0] if parameter not in no_choice]

    def build_weighted(self, spec: Mapping[str, Any]) -> dict[str, Weighted]:
        """The terms of a weighted sum, by name.

        Args:
            spec: coefficient by term, or {"weight": coefficient, ...arguments}, which may have a "type" where the term
                is to go by another name than its own.

        Raises:
            ValueError: for no terms at all, a coefficient that is no number, and as `build` does.

        >>> lengths = Registry("length")
        >>> _ = lengths.register("ruler")(lambda scale=1: lambda x: x * scale)
        >>> [(name, term.part(3), term.weight) for name, term in lengths.build_weighted({"ruler": 2.0}).items()]
        [('ruler', 3, 2.0)]
        """
        if not isinstance(spec, Mapping) or not spec:
            raise ValueError(f"{self.kind}: expected at least one term with its weight, got {spec!r}")
        return {name: self._term(name, value) for name, value in spec.items()}

    def _term(self, name: str, value: Any) -> Weighted:
        if isinstance(value, Weighted):
            return value
        arguments = dict(value) if isinstance(value, Mapping) else {"weight": value}
        weight = arguments.pop("weight", 1.0)
        if not isinstance(weight, Real) or isinstance(weight, bool):
            raise ValueError(f"{self.kind} {name!r}: expected a number as its weight, got {weight!r}")
        return Weighted(self.build({"type": name, **arguments}), float(weight))


@lru_cache(maxsize=1024)
def _parameters(entry: Callable[..., Any]) -> tuple[dict[str, Parameter], bool]:
    """The named parameters of a callable, and whether it takes any others."""
    parameters = signature(entry).parameters
    catch_all = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    named = {name: parameter for name, parameter in parameters.items() if parameter.kind not in catch_all}
    return named, any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters.values())


PLAIN = {"int": Integral, "float": Real, "bool": bool, "str": str, "None": type(None)}
"""Annotations that say all about a value."""


def _suits(value: Any, parameter: Parameter) -> bool:
    """Whether a value is of a parameter's type, where that is plain; True and False are no numbers."""
    names = {name.strip(" '") for name in formatannotation(parameter.annotation).split("|")}
    if not names <= PLAIN.keys():
        return True
    if isinstance(value, bool):
        return "bool" in names
    return isinstance(value, tuple(PLAIN[name] for name in names))


def describe_parts(parts: Sequence[Part]) -> dict[str, Any]:
    """The dict of an assigner's parts; a part without arguments stays a name.

    Raises:
        ValueError: for less than two parts or more than three.
    """
    if len(parts) not in (2, 3):
        names = "+".join(part.name for part in parts)
        raise ValueError(f"assigner {names!r}: expected matching+weighting or matching+weighting+score")
    described = {}
    for name, part, registry in zip(PARTS, parts, (MATCHINGS, WEIGHTINGS, SCORES), strict=False):
        described[name] = part.name if part == Part(part.name) else registry.describe(part)
    return described


def describe_argument(value: Any) -> Any:
    """An argument with a spec in it, or text that is more than a name, as a dict; any other value as it is.

    >>> describe_argument("top_k(atss, k=9)"), describe_argument("softmax")
    ({'type': 'top_k', 'matching': 'atss', 'k': 9}, 'softmax')

    Raises:
        ValueError: for text with a bracket, a + or a file that is no spec.
    """
    if not isinstance(value, str) or not (set("(+") & set(value) or files(value)):
        return value
    first, *others = parse(value)
    return _described((first, *others) if others else first)


def _describe(part: Part, kind: str, registries: Sequence[Registry]) -> dict[str, Any]:
    """The dict of a part whose name is in one of the registries."""
    if part.file:
        _check_file(part.file, part.name, kind, registries)
    names = _order(part, kind, registries) if part.positional else []
    if len(part.positional) > len(names):
        raise ValueError(
            f"{kind} {part.name!r}: takes {len(names)} arguments, got {len(part.positional)} without a name"
        )
    positional = dict(zip(names, part.positional, strict=False))
    twice = sorted(set(positional) & set(part.named))
    if twice:
        raise ValueError(f"{kind} {part.name!r}: got {twice[0]!r} twice, once without its name")
    arguments = {**positional, **part.named}
    return {"type": part.name, **{name: _described(value) for name, value in arguments.items()}}


def _check_file(file: str, part: str, kind: str, registries: Sequence[Registry]) -> None:
    """Refuse a name that does not come from the file that a spec says it comes from."""
    module = module_name(file)
    if module not in sys.modules:
        raise ValueError(
            f"{kind} '{file}:{part}': the file is not loaded, and a spec runs no code; load it with "
            f"detassign.assigners.imports.load({file!r}), or --import {file} on the command line"
        )
    own = [name for registry in registries for name, entry in registry._entries.items() if entry.__module__ == module]
    if part not in own:
        raise ValueError(unknown_name(f"{kind} of {file}", part, own))


def _order(part: Part, kind: str, registries: Sequence[Registry]) -> list[str]:
    """The parameters that a part's arguments without a name stand for."""
    orders = [registry.parameters(part.name) for registry in registries if part.name in registry]
    if not orders:
        raise ValueError(unknown_name(kind, part.name, list({*chain(*registries)})))
    if any(order != orders[0] for order in orders):
        raise ValueError(f"{part.name!r} is the name of several parts; write its arguments as name=value")
    return orders[0]


def _described(value: Any) -> Any:
    """An argument with its specs as dicts."""
    if isinstance(value, Part):
        return _describe(value, "part", EVERY)
    if isinstance(value, tuple):
        return describe_parts(value)
    if isinstance(value, Mapping):
        return {key: _described(inner) for key, inner in value.items()}
    return [_described(inner) for inner in value] if isinstance(value, list) else value


def unknown_name(kind: str, name: object, known: Mapping[str, Any] | list[str]) -> str:
    """One sentence about a name that is not there, with the nearest that are."""
    close = _nearest(str(name), list(known))
    hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else ";"
    return f"unknown {kind} {name!r}{hint} known: {', '.join(sorted(known)) or 'none'}"


def _nearest(name: str, known: list[str]) -> list[str]:
    """Up to three known names that are about as close as the closest, if that is close at all."""
    ratio = {other: SequenceMatcher(None, name, other).ratio() for other in known}
    best = max(ratio.values(), default=0.0)
    return sorted((n for n in known if ratio[n] >= max(0.5, best - 0.05)), key=ratio.__getitem__, reverse=True)[:3]


MATCHINGS = Registry("matching")
COSTS = Registry("matching cost")
WEIGHTINGS = Registry("weighting")
SCORES = Registry("score model")
QUALITIES = Registry("localisation quality")
SIMILARITIES = Registry("similarity")
SOFT_TARGETS = Registry("soft target")
AGGREGATORS = Registry("aggregator")
DISCOUNTS = Registry("discount")
BOX_LOSSES = Registry("box loss")
BRANCHES = Registry("second branch")
DENOISINGS = Registry("denoising")
EXTRAS = Registry("extra", given=("host",))
ASSIGNERS = Registry("assigner")
EVERY = (
    ASSIGNERS,
    MATCHINGS,
    WEIGHTINGS,
    SCORES,
    COSTS,
    QUALITIES,
    SIMILARITIES,
    SOFT_TARGETS,
    AGGREGATORS,
    DISCOUNTS,
    BOX_LOSSES,
    BRANCHES,
    DENOISINGS,
    EXTRAS,
)


@contextmanager
def all_or_nothing() -> Iterator[None]:
    """What is registered inside is taken back when something fails inside."""
    before = [dict(registry._entries) for registry in EVERY]
    try:
        yield
    except BaseException:
        for registry, entries in zip(EVERY, before, strict=True):
            registry._entries = entries
        raise


def forget(module: str) -> None:
    """Take away everything that a module has registered."""
    for registry in EVERY:
        registry._entries = {k: entry for k, entry in registry._entries.items() if entry.__module__ != module}

"""Renaming the tensors of a state dict, with every one accounted for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from torch import Tensor


@dataclass(frozen=True)
class Rule:
    """Names that match `pattern` from their beginning become `replacement`, or are dropped for a reason."""

    pattern: str
    replacement: str | None
    reason: str = ""


@dataclass(frozen=True)
class Translation:
    """A renamed state dict.

    Attributes:
        state: our name -> tensor.
        names: our name -> theirs.
        dropped: their name -> why it is not needed.
        spare: our name of a table that may have more rows than the model has queries -> what those behind are.
        given: our name in `state` that is none of theirs -> what it is and why.
        anew: what our names begin with, as a pattern, that have no counterpart and keep their initial values.
    """

    state: dict[str, Tensor] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)
    spare: dict[str, str] = field(default_factory=dict)
    given: dict[str, str] = field(default_factory=dict)
    anew: str | None = None

    def with_names(self, originals: Mapping[str, str]) -> Translation:
        """The same, told in the names that the file has, where tensors were prepared under others."""
        names = {ours: originals.get(theirs, theirs) for ours, theirs in self.names.items()}
        dropped = {originals.get(theirs, theirs): reason for theirs, reason in self.dropped.items()}
        return replace(self, names=names, dropped=dropped)

    def after(self, first: Translation) -> Translation:
        """The same, told in the names that `first` started from, with what `first` dropped."""
        told = self.with_names(first.names)
        return replace(told, dropped={**first.dropped, **told.dropped})


def translate(state: Mapping[str, Tensor], stages: Iterable[Iterable[Rule]]) -> Translation:
    """Pass each name through the stages; in each the first rule that matches, if any, is applied.

    Raises:
        ValueError: when two tensors get one name.
    """
    result, stages = Translation(), tuple(map(tuple, stages))
    for name, tensor in state.items():
        new, reason = _rename(name, stages)
        if new is None:
            result.dropped[name] = reason
            continue
        if new in result.state:
            raise ValueError(f"{name} and {result.names[new]}: both would become {new}")
        result.state[new] = tensor
        result.names[new] = name
    return result


def _rename(name: str, stages: tuple[tuple[Rule, ...], ...]) -> tuple[str | None, str]:
    """The new name, or None and why there is none."""
    for rules in stages:
        rule = next((rule for rule in rules if re.match(rule.pattern, name)), None)
        if rule is None:
            continue
        if rule.replacement is None:
            return None, rule.reason
        name = re.sub("^" + rule.pattern, rule.replacement, name, count=1)
    return name, ""

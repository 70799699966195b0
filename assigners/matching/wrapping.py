"""What a matching around another one says of itself: what that one says, unless it changes it."""

from __future__ import annotations

from typing import Any

from torch import nn

from ..needs import needs_of
from ..waits import waits_of


def _of_inner(name: str, otherwise: Any, meaning: str) -> property:
    """What the matching inside says under a name."""
    return property(lambda outer: getattr(outer.matching, name, otherwise), doc=meaning)


class Wrapping(nn.Module):
    """Base of matchings that change what another one, `matching`, is shown or finds."""

    matching: Any
    further_waits = 0
    """How often the host waits for a device besides (see `detassign.assigners.waits`)."""

    cardinality = _of_inner("cardinality", None, "one-to-one, one-to-few or one-to-many.")
    scale_invariant = _of_inner("scale_invariant", True, "Whether enlarging everything changes no pair.")
    moves_others = _of_inner("moves_others", False, "Whether a further target may change what others get.")
    serves_all = _of_inner("serves_all", True, "Whether, one to one, every target gets a sample.")
    across_layers = _of_inner("across_layers", False, "Whether a layer's pairs depend on which it is, or on others.")
    num_classes = _of_inner("num_classes", None, "C of a matching that is kept per class.")

    @property
    def needs(self) -> frozenset[str]:
        """Names of the optional parts of `Predictions` that must be there."""
        return needs_of(self.matching)

    @property
    def waits(self) -> int:
        """Those of the matching inside, and its own."""
        return waits_of(self.matching) + self.further_waits

    @property
    def kind(self) -> tuple[Any, ...]:
        """By the matching inside, as well."""
        return type(self), getattr(self.matching, "kind", type(self.matching))

"""Where assigners act: one for all outputs of a detector, or another for some of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..assigners import Assigner, build


def assigners_of(
    spec: Assigner | str | Mapping[str, Any], outputs: tuple[str, ...], num_classes: int, home: Any = None
) -> tuple[Assigner, dict[str, Assigner]]:
    """The assigner of a detector, and those of the outputs that have one of their own.

    Args:
        spec: what `detassign.assigners.build` takes; a dict may name outputs besides, each with such a spec.
        outputs: names of the outputs.
        num_classes: C.
        home: the detector's usual assigner, which completes parts by name.

    >>> main, others = assigners_of({"type": "hungarian", "encoder": "atss"}, ("encoder",), num_classes=3)
    >>> type(main.matching).__name__, type(others["encoder"].matching).__name__
    ('Hungarian', 'ATSS')
    """
    if not isinstance(spec, Mapping):
        return build(spec, num_classes, home), {}
    main = {key: value for key, value in spec.items() if key not in outputs}
    others = {key: build(spec[key], num_classes, home) for key in outputs if spec.get(key) is not None}
    return build(main, num_classes, home), others

"""An early word on objects that nothing learns."""

from __future__ import annotations

from ..words import many
from .probe import Probe
from .sizes import SIZES

__all__ = ["left_alone"]

NOTABLE = 0.1  # share of the objects of a size, above which it is told


def left_alone(probe: Probe, patience: int) -> list[str]:
    """A sentence for every size of which more than a tenth of the objects had no sample at so many looks, once it is so.

    Args:
        probe: after a look.
        patience: looks in a row.
    """
    now, before = (probe.stay_without(patience, ago) for ago in (0, 1))
    return [
        f"{staying} of the {many(count, f'{size} object')} that telemetry follows had no sample that learns them for "
        f"{many(patience, 'epoch')}; 'detassign inspect --run' with --telemetry shows more"
        for size, count, staying, earlier in zip(SIZES, probe.objects_by_size(), now, before, strict=True)
        if staying > NOTABLE * count >= earlier
    ]

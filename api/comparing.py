"""`detassign.compare`."""

from __future__ import annotations

from pathlib import Path

from detassign.bench.compare import Comparison, read_side
from detassign.bench.compare import compare as compare_sides

__all__ = ["Comparison", "compare"]


def compare(first: str | Path, second: str | Path) -> Comparison:
    """Tell what differs between two runs or two comparisons, as `detassign bench compare` does.

    Args:
        first, second: folders of runs, folders of comparisons, or their results.json.

    Raises:
        FileNotFoundError, ValueError: where there is none of them.
    """
    return compare_sides(read_side(Path(first)), read_side(Path(second)))

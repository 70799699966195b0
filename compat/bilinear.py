"""Where a bilinear sample reads, by the one rule that mmcv's region ops share.

A coordinate up to a pixel outside the map reads the border; one beyond that counts for nothing.
"""

from torch import Tensor

__all__ = ["neighbours"]


def neighbours(coordinates: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Lower and upper pixel along an axis, the weight of the upper one, and whether the coordinate counts at all.

    Args:
        coordinates: (...), pixel centres at integers; one that is not a number does not count.
        size: pixels along the axis.

    Returns:
        (...) int64, (...) int64, (...), (...) bool.
    """
    inside = (coordinates >= -1) & (coordinates <= size)
    clamped = coordinates.where(inside, 0).clamp(0, size - 1)
    low = clamped.detach().floor().long()
    return low, (low + 1).clamp(max=size - 1), clamped - low, inside

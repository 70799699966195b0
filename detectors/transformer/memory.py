"""The image as the transformer sees it: all levels in one sequence of tokens, with what is known about each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ...ops.transfer import to_device


@dataclass(frozen=True)
class Memory:
    """Tokens of a batch, levels from fine to coarse, each row by row.

    Attributes:
        features: (B, S, C).
        positions: (B or 1, S, C) position encodings.
        level_shapes: height and width of each level; their products add up to S.
        rows: per level (B or 1, h) bool, the rows inside each image.
        columns: per level (B or 1, w) bool.
        padded: whether any image is smaller than the batch.
        shape: height and width of the padded batch, pixels.
    """

    features: Tensor
    positions: Tensor
    level_shapes: tuple[tuple[int, int], ...]
    rows: tuple[Tensor, ...]
    columns: tuple[Tensor, ...]
    padded: bool
    shape: tuple[int, int]

    @cached_property
    def padding(self) -> Tensor | None:
        """(B, S) bool, True for tokens outside their image; None where there are none."""
        if not self.padded:
            return None
        valid = [r[:, :, None] & c[:, None] for r, c in zip(self.rows, self.columns, strict=True)]
        return ~torch.cat([level.flatten(1) for level in valid], 1)

    @cached_property
    def spatial_shapes(self) -> Tensor:
        """(L, 2) long, height and width."""
        return to_device(torch.tensor(self.level_shapes), self.features.device)

    @cached_property
    def level_sizes(self) -> list[int]:
        """Tokens of each level."""
        return [height * width for height, width in self.level_shapes]

    @cached_property
    def maps(self) -> list[Tensor]:
        """(B, C, h, w) of each level."""
        levels = self.features.transpose(1, 2).split(self.level_sizes, 2)
        return [level.unflatten(2, shape) for level, shape in zip(levels, self.level_shapes, strict=True)]

    @cached_property
    def strides(self) -> tuple[int, ...]:
        """Pixels per cell of each level: the nearest power of two, since the last cells may reach beyond the batch.

        >>> Memory(None, None, ((25, 42), (13, 21)), (), (), False, (800, 1333)).strides
        (32, 64)
        """
        return tuple(2 ** round(math.log2(each)) for each in self._cells)

    @cached_property
    def _cells(self) -> list[float]:
        """Pixels of a cell's longer side on each level."""
        (rows, columns), *shapes = ((known(y), known(x)) for y, x in (self.shape, *self.level_shapes))
        return [max(rows / height, columns / width) for height, width in shapes]

    @cached_property
    def token_strides(self) -> Tensor:
        """(S,) pixels per cell of each token's level."""
        device = self.features.device
        each = zip(self.level_sizes, self._cells, strict=True)
        return torch.cat([torch.full((size,), cell, device=device) for size, cell in each])

    @cached_property
    def level_starts(self) -> Tensor:
        """(L,) long, the first token of each level."""
        starts = tuple(sum(self.level_sizes[:level]) for level in range(len(self.level_sizes)))
        return to_device(torch.tensor(starts), self.features.device)

    @cached_property
    def valid_counts(self) -> Tensor:
        """(B or 1, L, 2) float32, valid columns and rows of each level."""
        counts = [torch.stack((c.sum(1), r.sum(1)), -1) for r, c in zip(self.rows, self.columns, strict=True)]
        return torch.stack(counts, 1).float()

    @cached_property
    def valid_ratios(self) -> Tensor:
        """(B or 1, L, 2) float32, share of each level's width and height that is inside the image."""
        return self.valid_counts / self.spatial_shapes.flip(-1)

    @cached_property
    def centers(self) -> Tensor:
        """(B or 1, S, 2) float32 xy of each token's centre, shares of the valid image."""
        levels = [
            _grid(height, width, self.features.device) / self.valid_counts[:, level, None]
            for level, (height, width) in enumerate(self.level_shapes)
        ]
        return torch.cat(levels, 1)


def known(side: int | torch.SymInt) -> int:
    """A side as a number: in a trace in which it is free, that of the example."""
    return side.node.require_hint() if isinstance(side, torch.SymInt) else side


def _grid(height: int, width: int, device: torch.device) -> Tensor:
    """(h * w, 2) float32 xy of cell centres, cells."""
    y = torch.arange(height, device=device, dtype=torch.float32) + 0.5
    x = torch.arange(width, device=device, dtype=torch.float32) + 0.5
    return torch.stack((x.expand(height, width), y[:, None].expand(height, width)), -1).flatten(0, 1)


def valid_lines(lengths: Tensor, total: int, cells: int) -> Tensor:
    """Which rows (or columns) of a level lie inside each image, by nearest-neighbour sampling of the full resolution.

    Args:
        lengths: (B,) valid pixels of each image.
        total: pixels of the padded batch.
        cells: of the level.

    Returns:
        (B, cells) bool.

    >>> valid_lines(torch.tensor([64, 40]), 64, 4).tolist()
    [[True, True, True, True], [True, True, True, False]]
    """
    inside = torch.arange(total, device=lengths.device) < lengths[:, None]
    return interpolate(inside[:, None].float(), size=cells, mode="nearest")[:, 0] > 0.5

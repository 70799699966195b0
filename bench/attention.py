"""Multi-scale deformable attention on the shapes of known detectors, beside its form in plain torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ..ops import ms_deform_attn, ms_deform_attn_reference
from .comparison import BOTH, FORWARD, Comparison, Needs, Run, one_pass
from .floor import attention_bytes, attention_multiply_adds

DINO_LEVELS = ((100, 134), (50, 67), (25, 34), (13, 17))  # 800 x 1066 at strides 8 to 64
RT_DETR_LEVELS = ((80, 80), (40, 40), (20, 20))
ENCODER = sum(height * width for height, width in DINO_LEVELS)  # queries: one for each cell
HEADS, CHANNELS, POINTS = 8, 32, 4
SPREAD = 2.0  # cells that model-like offsets lie from their query's reference point, standard deviation
FORMS = {"kernel": ms_deform_attn, "reference": ms_deform_attn_reference}


@dataclass(frozen=True)
class Case:
    """The shapes of one attention call."""

    name: str
    levels: tuple[tuple[int, int], ...]
    queries: int
    images: int = 1
    model_like: bool = True

    def inputs(self, dtype: str = "float32", device: str = "cpu") -> tuple[Tensor, ...]:
        """The op's five arguments: the value in ``dtype``, locations and weights in float32, as under autocast.

        Model-like locations lie a few cells around each query's reference point; a query per cell has its own cell's.
        """
        shapes = torch.tensor(self.levels)
        sizes = shapes.prod(1)
        starts = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)[:-1]])
        value = torch.randn(self.images, int(sizes.sum()), HEADS, CHANNELS).to(getattr(torch, dtype))
        locations = self._locations(shapes)
        weights = torch.rand(*locations.shape[:3], len(shapes) * POINTS).softmax(-1).view(locations.shape[:-1])
        return tuple(tensor.to(device) for tensor in (value, shapes, starts, locations, weights))

    def _locations(self, shapes: Tensor) -> Tensor:
        """(images, queries, heads, levels, points, 2) xy, fractions of the map."""
        shape = (self.images, self.queries, HEADS, len(shapes), POINTS, 2)
        if not self.model_like:
            return torch.rand(shape)
        one_per_cell = self.queries == int(shapes.prod(1).sum())
        reference = _cell_centres(self.levels) if one_per_cell else torch.rand(self.queries, 2)
        return reference[:, None, None, None] + torch.randn(shape) * SPREAD / shapes.flip(1)[:, None]


CASES = (
    Case("DINO encoder, model-like", DINO_LEVELS, ENCODER),
    Case("DINO encoder, model-like, 2 images", DINO_LEVELS, ENCODER, images=2),
    Case("DINO encoder, uniform", DINO_LEVELS, ENCODER, model_like=False),
    Case("DINO decoder, 900 queries", DINO_LEVELS, 900),
    Case("DINO decoder, 2 x 1100 queries", DINO_LEVELS, 1100, images=2),
    Case("RT-DETR decoder, 300 queries", RT_DETR_LEVELS, 300),
    Case("RT-DETR decoder, 2 x 300 queries", RT_DETR_LEVELS, 300, images=2),
)
CLOSER = tuple(case for case in CASES if case.images == 1 and case.model_like)  # memory and half precision too


def comparisons(dtype: str = "float32", device: str = "cpu") -> Iterator[Comparison]:
    """Every case in float32; the closer ones in half precision, beside plain torch and beside the kernel in float32."""
    for case in CASES if dtype == "float32" else CLOSER:
        for pass_ in (FORWARD, BOTH):
            yield _beside(case, pass_, dtype, device, "torch grid_sample", "reference", dtype)
            if dtype != "float32":
                yield _beside(case, pass_, dtype, device, "itself in float32", "kernel", "float32")


def _beside(case: Case, pass_: str, dtype: str, device: str, peer: str, form: str, peer_dtype: str) -> Comparison:
    ours, theirs = (
        partial(prepare, case, pass_, which, type_, device) for which, type_ in (("kernel", dtype), (form, peer_dtype))
    )
    memory = device == "cpu" and dtype == "float32" and case in CLOSER
    needs = partial(attention_needs, case, pass_, dtype, device)
    return Comparison("ms_deform_attn", case.name, dtype, pass_, peer, ours, theirs, needs, memory)


def attention_needs(case: Case, pass_: str, dtype: str, device: str) -> Needs:
    inputs, backward = case.inputs(dtype, device), pass_ == BOTH
    return Needs(attention_bytes(inputs, backward), attention_multiply_adds(inputs, backward))


def prepare(case: Case, pass_: str, form: str, dtype: str = "float32", device: str = "cpu") -> Run:
    """One call of the ``form``, "kernel" or "reference", on fresh arguments."""
    value, shapes, starts, locations, weights = case.inputs(dtype, device)
    if form == "reference":
        shapes, starts = shapes.cpu(), starts.cpu()  # where it reads them without waiting for a GPU

    def attend(value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
        return FORMS[form](value, shapes, starts, locations, weights)

    return one_pass(pass_, attend, value, locations, weights)


def _cell_centres(levels: tuple[tuple[int, int], ...]) -> Tensor:
    """(S, 2) xy of every cell as a fraction of its level."""
    grids = []
    for height, width in levels:
        y, x = torch.meshgrid((torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width, indexing="ij")
        grids.append(torch.stack([x, y], -1).view(-1, 2))
    return torch.cat(grids)

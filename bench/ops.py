"""How fast the compiled ops are, on a CPU or a GPU: each beside a peer in the same process, as a ratio of medians.

Beside the times: how far attention is from what the machine allows, and how much memory it takes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import torch
from scipy.optimize import linear_sum_assignment
from torch.nn import functional as F
from torchvision.ops import deform_conv2d

from ..ops import dropout, linear_assignment, sample_maps
from . import attention, deformable
from .comparison import BOTH, FORWARD, Comparison, Run, one_pass

PROBLEMS = ((112, 900, 20), (112, 300, 100), (2, 900, 1000))  # how many, rows, columns
MAPS = (2, 4, 100, 168)
HIDDEN, DROPPED = (2, 2600, 1024), 0.1  # of an encoder's feed-forward network


def comparisons(dtypes: Sequence[str] = ("float32",), device: str = "cpu") -> list[Comparison]:
    """All that is measured on "cpu" or "cuda".

    In half precision there are attention and dropout alone; on a GPU neither linear assignment nor dropout, which have no
    kernel for one.
    """
    listed = [one for dtype in dtypes for one in attention.comparisons(dtype, device)]
    listed += [] if device == "cuda" else map(_dropout, dtypes)
    if "float32" in dtypes:
        listed += [] if device == "cuda" else _assignment()
        listed += [_map_sampling(device), *deformable.comparisons(device)]
    return listed


def _assignment() -> Iterator[Comparison]:
    for shape in PROBLEMS:
        case = "{} of {} x {}".format(*shape)
        ours, theirs = (partial(prepare_assignment, shape, form) for form in ("kernel", "scipy"))
        yield Comparison("linear_assignment", case, "float32", FORWARD, "scipy loop", ours, theirs)


def prepare_assignment(shape: tuple[int, int, int], form: str) -> Run:
    """One solution of every problem by the ``form``, "kernel" or "scipy"."""
    cost = torch.rand(shape)
    if form == "kernel":
        return lambda: linear_assignment(cost)
    return lambda: [linear_sum_assignment(problem) for problem in cost.numpy()]


def _map_sampling(device: str) -> Comparison:
    case = " x ".join(map(str, MAPS))
    ours, theirs = (partial(prepare_sampling, form, device) for form in ("kernel", "torchvision"))
    return Comparison("sample_maps", case, "float32", BOTH, "torchvision deform_conv2d", ours, theirs)


def prepare_sampling(form: str, device: str) -> Run:
    """One pass of the ``form``, "kernel" or "torchvision"."""
    B, C, H, W = MAPS
    maps, offsets = torch.randn(MAPS).to(device), torch.randn(B, C, 2, H, W).to(device)
    if form == "kernel":
        return one_pass(BOTH, sample_maps, maps, offsets)
    weight = torch.ones(C, 1, 1, 1, device=device)
    return one_pass(BOTH, lambda maps, offsets: deform_conv2d(maps, offsets.flatten(1, 2), weight), maps, offsets)


def _dropout(dtype: str) -> Comparison:
    ours, theirs = (partial(prepare_dropout, form, dtype) for form in ("kernel", "torch"))
    return Comparison("dropout", " x ".join(map(str, HIDDEN)), dtype, BOTH, "torch dropout", ours, theirs)


def prepare_dropout(form: str, dtype: str) -> Run:
    """One pass of the ``form``, "kernel" or "torch"."""
    x = torch.randn(HIDDEN).to(getattr(torch, dtype))  # drawn in bfloat16, half a percent would be zeros
    if form == "kernel":
        return one_pass(BOTH, partial(dropout, probability=DROPPED, seed=0), x)
    return one_pass(BOTH, partial(F.dropout, p=DROPPED), x)

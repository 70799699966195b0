"""How fast the compiled ops are, on a CPU or a GPU: each beside a peer in the same process, as a ratio of medians."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torchvision.ops import deform_conv2d

from ..ops import linear_assignment, ms_deform_attn, ms_deform_attn_reference, sample_maps
from . import gpu

DINO_LEVELS = ((100, 134), (50, 67), (25, 34), (13, 17))  # 800 x 1066 at strides 8 to 64
RT_DETR_LEVELS = ((80, 80), (40, 40), (20, 20))
HEADS, CHANNELS, POINTS = 8, 32, 4
SPREAD = 2.0  # cells that model-like offsets lie from their query's reference point, standard deviation


@dataclass(frozen=True)
class Row:
    """One measurement: median seconds of ours and of the peer, and how many times faster ours is.

    ``floor_seconds`` is what the memory of a GPU takes to move the bytes that have to move, where that was measured.
    """

    op: str
    case: str
    pass_: str
    peer: str
    seconds: float
    peer_seconds: float
    floor_seconds: float | None = None

    @property
    def ratio(self) -> float:
        return self.peer_seconds / self.seconds

    @property
    def share_of_floor(self) -> float | None:
        """How much of the memory's speed ours reaches."""
        return None if self.floor_seconds is None else self.floor_seconds / self.seconds

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "ratio": self.ratio, "share_of_floor": self.share_of_floor}


Clock = Callable[[Callable[[], Any]], float]


def measure(repeats: int = 5, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Iterator[Row]:
    """All rows, one by one; the whole takes a minute or two on two cores.

    In half precision there is attention alone, with float32 locations and weights as models have them under autocast;
    on a GPU there is no linear assignment, which has no kernel for one.
    """
    torch.manual_seed(0)
    on_gpu, wide = torch.device(device).type == "cuda", dtype == torch.float32
    clock = gpu.seconds if on_gpu else host_seconds
    for case, (value, *others) in attention_cases():
        inputs = (value.to(device, dtype), *(tensor.to(device) for tensor in others))
        yield from _attention(case if wide else f"{case}, {str(dtype).removeprefix('torch.')}", inputs, repeats, clock)
    if wide and not on_gpu:
        yield from _assignment(repeats)
    if wide:
        yield from _map_sampling(repeats, device, clock)


def row_count(device: str, dtype: torch.dtype) -> int:
    """How many rows :func:`measure` gives."""
    return 8 + (dtype == torch.float32) * (1 if torch.device(device).type == "cuda" else 4)


def attention_cases() -> Iterator[tuple[str, tuple[Tensor, ...]]]:
    """Name and arguments of `ms_deform_attn` for the shapes of known detectors, batch 1."""
    queries = sum(height * width for height, width in DINO_LEVELS)
    yield "DINO encoder, model-like", attention_inputs(DINO_LEVELS, queries, model_like=True)
    yield "DINO encoder, uniform", attention_inputs(DINO_LEVELS, queries, model_like=False)
    yield "DINO decoder, 900 queries", attention_inputs(DINO_LEVELS, 900, model_like=True)
    yield "RT-DETR decoder, 300 queries", attention_inputs(RT_DETR_LEVELS, 300, model_like=True)


def attention_inputs(levels: tuple[tuple[int, int], ...], queries: int, model_like: bool) -> tuple[Tensor, ...]:
    """value, spatial_shapes, level_start_index, sampling_locations, attention_weights, batch 1, float32.

    Model-like locations lie a few cells around each query's reference point; a query per cell has its own cell's.
    """
    shapes = torch.tensor(levels)
    sizes = shapes.prod(1)
    starts = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)[:-1]])
    value = torch.randn(1, int(sizes.sum()), HEADS, CHANNELS)
    if model_like:
        reference = _cell_centres(levels) if queries == int(sizes.sum()) else torch.rand(queries, 2)
        offsets = torch.randn(1, queries, HEADS, len(levels), POINTS, 2) * SPREAD
        locations = reference[None, :, None, None, None] + offsets / shapes.flip(1)[None, None, None, :, None]
    else:
        locations = torch.rand(1, queries, HEADS, len(levels), POINTS, 2)
    weights = torch.rand(1, queries, HEADS, len(levels) * POINTS).softmax(-1).view(*locations.shape[:-1])
    return value, shapes, starts, locations, weights


def _cell_centres(levels: tuple[tuple[int, int], ...]) -> Tensor:
    """(S, 2) xy of every cell as a fraction of its level."""
    grids = []
    for height, width in levels:
        y, x = torch.meshgrid((torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width, indexing="ij")
        grids.append(torch.stack([x, y], -1).view(-1, 2))
    return torch.cat(grids)


def _attention(case: str, inputs: tuple[Tensor, ...], repeats: int, clock: Clock) -> Iterator[Row]:
    value, shapes, starts, locations, weights = inputs
    on_host = shapes.cpu(), starts.cpu()  # where the peer reads them without waiting for a GPU
    leaves = [tensor.clone().requires_grad_() for tensor in (value, locations, weights)]

    def forward(op: Callable[..., Tensor], *levels: Tensor) -> Callable[[], Any]:
        return lambda: op(value, *levels, locations, weights)

    def both(op: Callable[..., Tensor], *levels: Tensor) -> Callable[[], Any]:
        return lambda: torch.autograd.grad(op(leaves[0], *levels, *leaves[1:]).sum(), leaves)

    for name, run in (("forward", forward), ("forward + backward", both)):
        ours, peer = run(ms_deform_attn, shapes, starts), run(ms_deform_attn_reference, *on_host)
        times = medians(ours, peer, repeats, clock)
        floor = gpu.attention_bytes(inputs, run is both) / gpu.copy_bandwidth() if value.is_cuda else None
        yield Row("ms_deform_attn", case, name, "torch grid_sample", *times, floor)


def _assignment(repeats: int) -> Iterator[Row]:
    for problems, rows, columns in ((112, 900, 20), (112, 300, 100), (2, 900, 1000)):
        cost = torch.rand(problems, rows, columns)
        host = cost.numpy()
        times = medians(
            lambda cost=cost: linear_assignment(cost),
            lambda host=host: [linear_sum_assignment(c) for c in host],
            repeats,
        )
        yield Row("linear_assignment", f"{problems} of {rows} x {columns}", "forward", "scipy loop", *times)


def _map_sampling(repeats: int, device: str, clock: Clock) -> Iterator[Row]:
    shapes = (2, 4, 100, 168), (2, 4, 2, 100, 168)
    maps, offsets = (torch.randn(shape).to(device).requires_grad_() for shape in shapes)
    weight = torch.ones(4, 1, 1, 1, device=device)

    def run(op: Callable[[], Tensor]) -> Callable[[], Any]:
        return lambda: torch.autograd.grad(op().sum(), (maps, offsets))

    ours = run(lambda: sample_maps(maps, offsets))
    peer = run(lambda: deform_conv2d(maps, offsets.flatten(1, 2), weight))
    times = medians(ours, peer, repeats, clock)
    yield Row("sample_maps", "2 x 4 x 100 x 168", "forward + backward", "torchvision deform_conv2d", *times)


def host_seconds(run: Callable[[], Any]) -> float:
    """Seconds that `run` takes."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def medians(
    ours: Callable[[], Any], peer: Callable[[], Any], repeats: int, clock: Clock = host_seconds
) -> tuple[float, float]:
    """Median seconds of both, measured in turn so that both meet the same machine; the first run of each warms up."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats + 1):
        for run, taken in zip((ours, peer), times, strict=True):
            taken.append(clock(run))
    return statistics.median(times[0][1:]), statistics.median(times[1][1:])

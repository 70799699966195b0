"""What measuring on a GPU takes: a clock that is the GPU's, how fast its memory is, and its name."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import product
from typing import Any

import torch
from torch import Tensor

SCRATCH_BYTES = 2**30  # many times any GPU's cache


def seconds(run: Callable[[], Any]) -> float:
    """Seconds from the first to the last of what `run` puts on the GPU, which starts with cold caches.

    The GPU first clears a large buffer. Meanwhile the host runs ahead, so that its own time does not count unless `run`
    waits for the GPU.
    """
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    _scratch().zero_()
    start.record()
    run()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1000


@cache
def copy_bandwidth() -> float:
    """Bytes read and written per second by the fastest of ten copies of a large buffer: the speed that memory allows."""
    source, target = _scratch(), torch.empty_like(_scratch())
    return 2 * SCRATCH_BYTES / min(seconds(lambda: target.copy_(source)) for _ in range(10))


def hardware() -> dict[str, Any]:
    """The GPU, and the versions that its kernels were built with."""
    properties = torch.cuda.get_device_properties(torch.cuda.current_device())
    return {
        "device": properties.name,
        "memory_bytes": properties.total_memory,
        "multiprocessors": properties.multi_processor_count,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
    }


def attention_bytes(inputs: tuple[Tensor, ...], backward: bool = False) -> int:
    """Bytes that `ms_deform_attn` has to move at least: every input it needs once, and every result once.

    Of the value only the rows count that some sample reaches. With `backward` the gradients' own reads and writes are
    added to those of the forward.

    Args:
        inputs: the op's five arguments, on one device.
    """
    value, _, _, locations, weights = inputs
    B, Q, H, _, _, _ = locations.shape
    read = rows_reached(*inputs[:4]) * value.shape[3] * value.element_size()
    points = sum(tensor.numel() * tensor.element_size() for tensor in (locations, weights))
    output = B * Q * H * value.shape[3] * value.element_size()
    forward = read + points + output
    whole = value.numel() * value.element_size()
    return forward + (read + 2 * points + output + whole if backward else 0)


def rows_reached(value: Tensor, shapes: Tensor, starts: Tensor, locations: Tensor) -> int:
    """How many of the B * S * H rows of the value are a neighbour of some location."""
    reached = torch.zeros(value.shape[:3], dtype=torch.bool, device=value.device)
    image, head = (torch.arange(count, device=value.device) for count in (value.shape[0], value.shape[2]))
    image, head = image.view(-1, 1, 1, 1), head.view(1, 1, -1, 1)
    for level, ((height, width), start) in enumerate(zip(shapes.tolist(), starts.tolist(), strict=True)):
        x, y = (locations[:, :, :, level] * locations.new_tensor([width, height]) - 0.5).floor().long().unbind(-1)
        for down, right in product((0, 1), (0, 1)):
            row, column = y + down, x + right
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            places = (start + row * width + column)[inside]
            reached[image.expand_as(row)[inside], places, head.expand_as(row)[inside]] = True
    return int(reached.sum())


@cache
def _scratch() -> Tensor:
    return torch.empty(SCRATCH_BYTES, dtype=torch.uint8, device="cuda")

"""How long assigners take and how much memory: matching, weighting, loss and backward, beside mmdet's heads and dense forms.

Every side starts from the same simulated predictions, as maps or flattened, and ends with the gradients of its loss. The
sides take turns; memory is the peak of a fresh process. A side that needs more than `MOST_MEMORY` is not waited for.
"""

from __future__ import annotations

import resource
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..assigners import ASSIGNERS, Predictions, Targets, build
from ..assigners.losses import OnShares, box_terms
from ..evidence.inspection.simulation import simulate
from .clocks import host_seconds
from .dense_forms import DENSE_FORMS
from .memory import can_measure, extra_bytes
from .mmdet_heads import available_heads, loss_of

__all__ = ["COUNTS", "Case", "SpeedRow", "conditions", "contenders", "measure"]

SHAPE, STRIDES, CLASSES, IMAGES = (800, 1344), (8, 16, 32, 64, 128), 80, 2  # 22,400 points
LAYERS, QUERIES = 7, 900
COUNTS = (1, 10, 100, 1000)
WEIGHED = (100, 1000)  # objects per image at which memory is measured, a fresh process each
MOST_MEMORY = 12 * 2**30  # bytes of a process's memory
BINS = 17


@dataclass(frozen=True)
class Case:
    """What is measured: an assigner's name, objects per image, and the side: "detassign", "mmdet" or "dense form"."""

    assigner: str
    objects: int
    side: str


@dataclass(frozen=True)
class SpeedRow:
    """Median seconds of a step on so many threads, None where the side did not survive; peak memory, None if not measured."""

    assigner: str
    objects: int
    side: str
    threads: int
    seconds: float | None
    extra_bytes: int | None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def conditions() -> dict[str, Any]:
    """What holds for every row."""
    return {
        "points": 22400,
        "queries": f"{LAYERS} layers of {QUERIES}",
        "classes": CLASSES,
        "images": IMAGES,
        "dtype": "float32",
        "most_memory": MOST_MEMORY,
        "torch": torch.__version__,
    }


def contenders(assigners: Iterable[str] | None = None) -> dict[str, list[str]]:
    """The sides of every assigner, ours first."""
    names = [name for name in assigners or ASSIGNERS]
    peers = {"mmdet": available_heads(), "dense form": DENSE_FORMS}
    return {name: ["detassign", *(side for side, known in peers.items() if name in known)] for name in names}


def measure(
    assigners: Iterable[str] | None = None,
    counts: Sequence[int] = COUNTS,
    threads: Sequence[int] = (1, 2),
    repeats: int = 5,
) -> Iterator[list[SpeedRow]]:
    """Rows of one assigner and number of objects at a time, as soon as they are there."""
    for name, sides in contenders(assigners).items():
        for objects in counts:
            cases = [Case(name, objects, side) for side in sides]
            peaks = {case: _memory(case) for case in cases} if objects in WEIGHED and can_measure() else {}
            alive = [case for case in cases if peaks.get(case, 0) is not None]
            seconds = {count: _timed(alive, count, repeats) for count in threads}
            yield [
                SpeedRow(name, objects, case.side, count, seconds[count].get(case), peaks.get(case))
                for count in threads
                for case in cases
            ]


def _timed(cases: Sequence[Case], threads: int, repeats: int) -> dict[Case, float]:
    """Median seconds of each side, measured in turns."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        steps = {case: prepare(case) for case in cases}
        times = {case: [] for case in steps}
        for _ in range(repeats + 1):
            for case, step in steps.items():
                times[case].append(host_seconds(step))
    finally:
        torch.set_num_threads(before)
    return {case: statistics.median(seconds[1:]) for case, seconds in times.items()}


def _memory(case: Case) -> int | None:
    """Peak of a fresh process, bytes beyond what was there; None where it does not survive `MOST_MEMORY`."""
    try:
        return extra_bytes(partial(_limited, case))
    except (MemoryError, RuntimeError, BrokenProcessPool):
        return None


def _limited(case: Case) -> Callable[[], Tensor]:
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, resource.RLIM_INFINITY))
    return prepare(case)


def prepare(case: Case) -> Callable[[], Tensor]:
    """The step of a case: loss and backward; returns the loss."""
    torch.manual_seed(0)
    assigner = build(case.assigner, CLASSES)
    targets = make_targets(case.objects)
    on_queries = "points" not in assigner.needs and all(isinstance(part, OnShares) for part in _box_losses(assigner))
    predictions = query_predictions(targets) if on_queries else dense_predictions(targets)
    if assigner.score.background_column:
        predictions = replace(predictions, logits=torch.nn.functional.pad(predictions.logits, (0, 1)))
    if case.side == "mmdet":
        return loss_of(case.assigner, predictions, targets, SHAPE)
    form = partial(_loss, assigner) if case.side == "detassign" else DENSE_FORMS[case.assigner]
    return partial(_step, form, predictions, targets.repeat(predictions.groups or 1))


def _loss(assigner: Any, predictions: Predictions, targets: Targets) -> Tensor:
    return sum(value.sum() for value in assigner.loss(predictions, targets).values())


def _step(form: Callable[[Predictions, Targets], Tensor], predictions: Predictions, targets: Targets) -> Tensor:
    names = [n for n in ("logits", "boxes", "objectness", "distribution") if getattr(predictions, n) is not None]
    leaves = {name: getattr(predictions, name).detach().requires_grad_() for name in names}
    loss = form(replace(predictions, **leaves), targets)
    loss.backward()
    return loss.detach()


def _box_losses(assigner: Any) -> list[Any]:
    return [term.part for term in box_terms(assigner.box_loss).values()]


def make_targets(objects: int) -> Targets:
    """So many objects of log-uniform sides, 8 to 512 pixels, in each image."""
    generator = torch.Generator().manual_seed(1)
    height, width = SHAPE
    sides = 8 * 64 ** torch.rand(IMAGES, objects, 2, generator=generator)
    room = torch.tensor([width, height]) - sides
    corner = torch.rand(IMAGES, objects, 2, generator=generator) * room.clamp(min=1)
    labels = torch.randint(CLASSES, (IMAGES, objects), generator=generator)
    sizes = torch.tensor([[float(width), float(height)]]).expand(IMAGES, 2)
    return Targets.from_lists(list(torch.cat([corner, corner + sides], -1)), list(labels), sizes=sizes)


def dense_predictions(targets: Targets) -> Predictions:
    """A trained head's, simulated, with a distribution of distances that nobody trained."""
    images = [
        simulate(replace(targets, **_image(targets, index)), SHAPE, STRIDES, CLASSES, seed=index)
        for index in range(IMAGES)
    ]
    parts = {name: torch.cat([getattr(image, name) for image in images]) for name in ("logits", "boxes", "objectness")}
    samples = parts["logits"].shape[1]
    distribution = torch.randn(IMAGES, samples, 4, BINS, generator=torch.Generator().manual_seed(2))
    return replace(images[0], **parts, distribution=distribution)


def _image(targets: Targets, index: int) -> dict[str, Tensor]:
    return {n: getattr(targets, n)[index : index + 1] for n in ("boxes", "labels", "mask", "sizes")}


def query_predictions(targets: Targets) -> Predictions:
    """Decoder layers whose queries lie around the objects, with a spread that the next layer halves."""
    generator = torch.Generator().manual_seed(3)
    near = targets.boxes[:, torch.randint(targets.boxes.shape[1], (QUERIES,), generator=generator)]
    layers = [near + 32 / 2**layer * torch.randn(near.shape, generator=generator) for layer in range(LAYERS)]
    boxes = torch.cat(layers)
    boxes = torch.cat(
        [torch.minimum(boxes[..., :2], boxes[..., 2:]), torch.maximum(boxes[..., :2], boxes[..., 2:])], -1
    )
    logits = torch.randn(LAYERS * IMAGES, QUERIES, CLASSES, generator=generator) - 3
    return Predictions(logits, boxes, groups=LAYERS)

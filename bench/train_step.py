"""How long a training step takes: our query detectors beside mmdet's own models of the same families, in one process.

A step is everything between a batch of images and the next one: normalising, forward, losses, backward, gradient clip and
optimizer. Both sides are trained by mmengine's `train_step` on the same images and objects, each with the optimizer that
its own training builds. The sides take turns, so that all meet the same machine; peak memory is measured in a process per
side.

In bfloat16 all sides are under the same autocast.

On a CPU mmcv runs deformable attention in plain torch, whatever ops it has. mmdet is measured so, and again with this
project's kernel put in its place, which is the harder peer.
"""

from __future__ import annotations

import multiprocessing
import resource
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import mmcv.ops.multi_scale_deform_attn as mmcv_attention
import mmdet
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.structures import InstanceData
from torch import Tensor, nn

from ..configs.detectors import query_parts as parts
from ..configs.detectors.backbones import resnet
from ..detectors import QueryDetector
from ..detectors.targets import targets_of
from ..engine.build import build_model
from ..engine.config import plain
from ..engine.hooks import peak_memory_bytes
from ..engine.precision import optim_wrapper, wrapper_in
from ..engine.train import calm, parameter_groups
from ..heads.query import QueryOutputs
from ..ops import ms_deform_attn
from ..ops._library import has_kernels
from .stand_in import put_on, stand_in

CLASSES = 80
PYRAMID, COARSEST = (512, 1024, 2048), (2048,)
OURS, PEER, HARDER_PEER = "detassign", "mmdet", "mmdet, our kernel"
WARM_UP = 2  # steps that are not counted
CONDITIONS = (
    "time, CPU time, memory: ours as a share of the peer's; CPU time is that of all threads, which other work on the machine "
    "changes little. MiB: what our training process grows by. supervision: share of our step in matching, losses and "
    "denoising. waits: how often a step of ours and of the peer's waits for a GPU (on a CPU, for a stand-in)."
)


@dataclass(frozen=True)
class Family:
    """One system on both sides.

    Attributes:
        model: arguments of ours, described as a fragment does.
        peer: mmdet's config file.
        deformable: whether mmdet's model runs on deformable attention.
    """

    model: Mapping[str, Any]
    peer: str
    deformable: bool = True


@dataclass(frozen=True)
class Conditions:
    """What holds for every side; size is height and width, pixels; precision float32 or bfloat16."""

    size: tuple[int, int] = (320, 416)
    batch: int = 2
    objects: int = 20
    device: str = "cpu"
    precision: str = "float32"
    steps: int = 7

    @property
    def dtype(self) -> torch.dtype:
        return getattr(torch, self.precision)

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "threads": torch.get_num_threads(), "torch": torch.__version__}


@dataclass(frozen=True)
class Row:
    """One family beside one peer: median seconds of a step, peak memory, and what the training targets cost us.

    Attributes:
        cpu_seconds, peer_cpu_seconds: of all threads.
        memory, peer_memory: bytes a training process grows by, from before the model to its peak.
        supervision: seconds of our step that go into matching, losses (forward and backward) and denoising queries.
        waits, peer_waits: how often a step waits for the GPU; on a CPU, for a stand-in (see `bench.stand_in`).
    """

    family: str
    peer: str
    seconds: float
    peer_seconds: float
    cpu_seconds: float
    peer_cpu_seconds: float
    memory: int
    peer_memory: int
    supervision: float
    waits: int
    peer_waits: int

    @property
    def ratio(self) -> float:
        return self.seconds / self.peer_seconds

    @property
    def cpu_ratio(self) -> float:
        return self.cpu_seconds / self.peer_cpu_seconds

    @property
    def memory_ratio(self) -> float:
        return self.memory / self.peer_memory

    @property
    def supervision_share(self) -> float:
        return self.supervision / self.seconds

    def to_dict(self) -> dict[str, Any]:
        derived = ("ratio", "cpu_ratio", "memory_ratio", "supervision_share")
        return {**asdict(self), **{name: getattr(self, name) for name in derived}}


class Contender:
    """A detector in training.

    Args:
        model: an mmengine model.
        optimizer: of its parameters.
        attention: takes the place of mmcv's plain deformable attention while this one steps; None leaves it.
    """

    def __init__(
        self, model: nn.Module, optimizer: OptimWrapper, attention: Callable[..., Tensor] | None = None
    ) -> None:
        self.model, self.optimizer, self.attention = model.train(), optimizer, attention

    def step(self, batch: Mapping[str, Any]) -> None:
        """One training step, finished when this returns."""
        self.start(batch)
        _wait(next(self.model.parameters()).device)

    def start(self, batch: Mapping[str, Any]) -> None:
        """One training step, of which a GPU may still be working when this returns."""
        with mmcv_attention_of(self.attention):
            self.model.train_step(dict(batch), self.optimizer)


def families() -> dict[str, Family]:
    """The systems measured, with the published widths; dropout as mmdet's configs have it."""
    plain_size, focal_size = parts.Size(queries=100, dropout=0.1), parts.Size(queries=300, dropout=0.1)
    deformable_size = parts.Size(queries=300, dropout=0.1, hidden=1024)
    (pyramid, _), (coarsest, _) = resnet(50, maps=3), resnet(50)
    two_stage = parts.deformable_detr(pyramid, PYRAMID, deformable_size, refine=True, two_stage=True)
    return {
        "dino": Family(
            parts.dino(pyramid, PYRAMID, parts.Size(queries=900), shared=False),  # mmdet has heads for every layer
            "dino/dino-4scale_r50_8xb2-12e_coco.py",
        ),
        "deformable_detr": Family(
            parts.deformable_detr(pyramid, PYRAMID, deformable_size),
            "deformable_detr/deformable-detr_r50_16xb2-50e_coco.py",
        ),
        "deformable_detr_two_stage": Family(
            two_stage, "deformable_detr/deformable-detr-refine-twostage_r50_16xb2-50e_coco.py"
        ),
        "detr": Family(parts.detr(coarsest, COARSEST, plain_size), "detr/detr_r50_8xb2-150e_coco.py", False),
        "conditional_detr": Family(
            parts.conditional_detr(coarsest, COARSEST, focal_size),
            "conditional_detr/conditional-detr_r50_8xb2-50e_coco.py",
            False,
        ),
    }


def measure(names: Sequence[str], conditions: Conditions) -> Iterator[Row]:
    """Rows of the named families, one by one.

    Raises:
        ValueError: for an unknown family.
    """
    known = families()
    for name in names:
        if name not in known:
            raise ValueError(f"families: expected some of {', '.join(known)}, got {name!r}")
    for name in names:
        yield from _rows(name, known[name], conditions)


def sides(family: Family) -> tuple[str, ...]:
    """Ours and the peers it is measured beside."""
    return (OURS, PEER, HARDER_PEER) if family.deformable and has_kernels("cpu") else (OURS, PEER)


def _rows(name: str, family: Family, conditions: Conditions) -> Iterator[Row]:
    memory = {side: _in_own_process(peak_growth, name, side, conditions) for side in sides(family)}
    batch = make_batch(conditions)
    contenders = {side: contender(family, side, conditions) for side in sides(family)}
    times = take_turns({side: lambda c=c: c.step(batch) for side, c in contenders.items()}, conditions.steps)
    supervision = supervision_seconds(contenders[OURS].model, batch, conditions.steps)
    count = waits_on_gpu if torch.device(conditions.device).type == "cuda" else waits_on_stand_in
    waits = {side: count(contender, batch) for side, contender in contenders.items()}
    for peer in sides(family)[1:]:
        (wall, cpu), (peer_wall, peer_cpu) = times[OURS], times[peer]
        bytes_held = (memory[OURS], memory[peer])
        yield Row(name, peer, wall, peer_wall, cpu, peer_cpu, *bytes_held, supervision, waits[OURS], waits[peer])


def contender(family: Family, side: str, conditions: Conditions) -> Contender:
    """One side of a family, ready to train."""
    torch.manual_seed(0)
    if side == OURS:
        return ours(family.model, conditions)
    return peer(family.peer, conditions, attention_as_mmcv if side == HARDER_PEER else None)


def ours(model: Mapping[str, Any], conditions: Conditions) -> Contender:
    """Our detector with AdamW as our training builds it."""
    description = plain(dict(model))
    description["head"]["num_classes"] = CLASSES
    built = build_model({"model": description}).to(conditions.device, memory_format=torch.channels_last)
    schedule = {"norm_decay_mult": 1.0, "bias": {"lr_mult": 1.0, "decay_mult": 1.0}, "backbone_lr_mult": 0.1}
    groups = parameter_groups(built, schedule, 1e-4, 1e-4)
    optimizer = torch.optim.AdamW(groups, lr=1e-4, weight_decay=1e-4, fused=True)
    where = torch.device(conditions.device)
    return Contender(built, optim_wrapper(conditions.dtype, where, optimizer=optimizer, clip_grad={"max_norm": 0.1}))


def peer(file: str, conditions: Conditions, attention: Callable[..., Tensor] | None = None) -> Contender:
    """mmdet's model and optimizer as its config describes them, without downloaded weights."""
    with calm():
        register_all_modules(init_default_scope=True)
        config = Config.fromfile(Path(mmdet.__file__).parent / ".mim" / "configs" / file)
        config.model.backbone.init_cfg = None
        model = MODELS.build(config.model)
        model.init_weights()
        model.to(conditions.device)
        wrapper = wrapper_in(conditions.dtype, torch.device(conditions.device))
        settings = {**config.optim_wrapper, **wrapper}
        return Contender(model, build_optim_wrapper(model, settings), attention)


def make_batch(conditions: Conditions) -> dict[str, Any]:
    """Random images and objects as a loader hands them to mmengine's models, on the host."""
    generator = torch.Generator().manual_seed(0)
    height, width = conditions.size
    images = torch.randint(0, 256, (conditions.batch, 3, height, width), dtype=torch.uint8, generator=generator)
    samples = [_sample(conditions, generator) for _ in images]
    return {"inputs": list(images), "data_samples": samples}


def _sample(conditions: Conditions, generator: torch.Generator) -> DetDataSample:
    height, width = conditions.size
    scale = torch.tensor([width, height], dtype=torch.float)
    corner = torch.rand(conditions.objects, 2, generator=generator) * 0.7
    extent = torch.rand(conditions.objects, 2, generator=generator) * 0.25 + 0.05
    labels = torch.randint(0, CLASSES, (conditions.objects,), generator=generator)
    sample = DetDataSample(metainfo={"img_shape": (height, width), "ori_shape": (height, width), "img_id": 0})
    sample.set_metainfo({"pad_shape": (height, width), "scale_factor": (1.0, 1.0)})
    boxes = torch.cat((corner, corner + extent), 1) * scale.repeat(2)
    sample.gt_instances = InstanceData(bboxes=boxes, labels=labels)
    return sample


def take_turns(runs: Mapping[str, Callable[[], Any]], steps: int) -> dict[str, tuple[float, float]]:
    """Median seconds of each run, by the clock and of the CPU, measured in turn; the first turns warm up."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for _ in range(WARM_UP + steps):
        for name, run in runs.items():
            times[name].append(_seconds(run))
    counted = {name: zip(*taken[WARM_UP:], strict=True) for name, taken in times.items()}
    return {name: tuple(map(statistics.median, clocks)) for name, clocks in counted.items()}


def supervision_seconds(model: QueryDetector, batch: Mapping[str, Any], repeats: int) -> float:
    """Median seconds that matching, all losses and their gradients down to logits and boxes, and denoising take."""
    data = model.data_preprocessor(dict(batch), True)
    targets = targets_of(data["data_samples"]).to(data["inputs"].device)
    with torch.no_grad():
        outputs = model._outputs(data["inputs"], data["data_samples"], targets.sizes, targets)
    device = data["inputs"].device

    def losses() -> None:
        leaves = _as_leaves(outputs)
        sum(model.bbox_head.loss(leaves, targets).values()).backward()
        _wait(device)

    def denoising() -> None:
        if model.denoising is not None:
            model.denoising.denoise(targets, CLASSES)
        _wait(device)

    return sum(wall for wall, _ in take_turns({"losses": losses, "denoising": denoising}, repeats).values())


def _as_leaves(outputs: QueryOutputs) -> QueryOutputs:
    tensors = {name: getattr(outputs, name) for name in ("logits", "boxes", "objectness")}
    leaves = {name: t.detach().requires_grad_() for name, t in tensors.items() if t is not None}
    return replace(outputs, **leaves, encoder=outputs.encoder and _as_leaves(outputs.encoder))


def waits_on_gpu(contender: Contender, batch: Mapping[str, Any]) -> int:
    """How often a step waits for the GPU."""
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            contender.start(batch)
    finally:
        torch.cuda.set_sync_debug_mode(before)
    return sum("synchroniz" in str(warning.message) for warning in caught)


def waits_on_stand_in(contender: Contender, batch: Mapping[str, Any]) -> int:
    """How often a step would wait for a GPU; moves the contender to the stand-in, where it stays."""
    put_on(contender.model)
    with calm(), stand_in() as record:
        contender.start(deepcopy(batch))  # makes what is made once
        record.clear()
        contender.start(deepcopy(batch))
    return sum(record.waits.values())


def peak_growth(name: str, side: str, conditions: Conditions, threads: int) -> int:
    """Bytes that this process grows by, at most, from before the model is built until it has trained two steps."""
    torch.set_num_threads(threads)
    before = 0 if torch.device(conditions.device).type == "cuda" else _resident_bytes()
    with calm():
        model, batch = contender(families()[name], side, conditions), make_batch(conditions)
        for _ in range(2):
            model.step(batch)
    return peak_memory_bytes() - before


def _in_own_process(function: Callable[..., int], *arguments: Any) -> int:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments, torch.get_num_threads()).result()


def _resident_bytes() -> int:
    """What this process holds in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def attention_as_mmcv(value: Tensor, shapes: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
    """`ms_deform_attn` under the arguments of mmcv's plain form: levels follow each other."""
    sizes = shapes.prod(1)
    return ms_deform_attn(value, shapes, sizes.cumsum(0) - sizes, locations, weights)


@contextmanager
def mmcv_attention_of(function: Callable[..., Tensor] | None) -> Iterator[None]:
    """Put another function in the place of mmcv's plain deformable attention."""
    name = "multi_scale_deformable_attn_pytorch"
    original = getattr(mmcv_attention, name)
    setattr(mmcv_attention, name, function or original)
    try:
        yield
    finally:
        setattr(mmcv_attention, name, original)


def _seconds(run: Callable[[], Any]) -> tuple[float, float]:
    started, cpu_started = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - started, time.process_time() - cpu_started


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)

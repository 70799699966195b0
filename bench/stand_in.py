"""A stand-in for a GPU: tensors that are computed on the CPU, say that they are on `cuda:0`, and do not mix with others.

It shows what a GPU would refuse, and where it would make the host wait, on a machine without one. It shows nothing of
speed, and runs the CPU's kernels.
"""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

PACKAGE = Path(__file__).resolve().parents[1]
ROOMS = {"assigners", "detectors", "heads", "ops"}
GPU = torch.device("cuda", 0)
UNDERNEATH = "lazy"  # what C++ sees: a device whose gradients the autograd engine works out in the thread that asks
READING = {
    *("_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select", "bincount", "multinomial"),
    *("_unique2", "unique_dim", "unique_consecutive"),
}
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}


@dataclass
class Record:
    """What happened on the stand-in, by file of this package.

    Attributes:
        mixed: operators that got tensors of both devices, which a GPU refuses.
        reads: values and sizes that the host asked for, and waits for.
        sends: copies to the device that the host waits for.
    """

    mixed: Counter[str] = field(default_factory=Counter)
    reads: Counter[str] = field(default_factory=Counter)
    sends: Counter[str] = field(default_factory=Counter)

    @property
    def waits(self) -> dict[str, int]:
        """Where, and how often, the host waited."""
        return dict(self.reads + self.sends)

    def clear(self) -> None:
        """Begin anew."""
        for counter in (self.mixed, self.reads, self.sends):
            counter.clear()


class OnGPU(Tensor):
    """A tensor on the stand-in; `host` holds the numbers."""

    @staticmethod
    def __new__(cls, host: Tensor) -> OnGPU:
        layout = {"strides": host.stride(), "storage_offset": host.storage_offset()}
        made = Tensor._make_wrapper_subclass(cls, host.size(), **layout, dtype=host.dtype, device=UNDERNEATH)
        made.host = host
        return made

    device = property(lambda self: GPU)
    is_cuda = property(lambda self: True)
    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return _run(function, args, kwargs or {}, Record())

    def tolist(self) -> Any:
        return self.cpu().tolist()


@contextmanager
def stand_in() -> Iterator[Record]:
    """Inside, `cuda:0` is the stand-in; gives the record of what happens there.

    >>> with stand_in() as record:
    ...     positive = torch.tensor([1.0, -1.0]).to(GPU, non_blocking=True) > 0
    ...     _ = positive.nonzero()  # the host must know how many there are
    >>> sum(record.waits.values())
    1
    """
    record = Record()
    with ExitStack() as stack:
        stack.enter_context(mock.patch("torch.cuda._lazy_init"))
        for op in ("ms_deform_attn", "sample_maps"):
            stack.enter_context(mock.patch(f"detassign.ops.{op}.has_kernels", return_value=True))
        stack.enter_context(_Operators(record))
        stack.enter_context(_Constructors(record))
        yield record


def put_on(model: nn.Module) -> nn.Module:
    """The model moved to the stand-in, in place: an optimizer that has its parameters keeps them."""
    for parameter in model.parameters():
        moved = nn.Parameter(OnGPU(parameter.detach().clone()), requires_grad=parameter.requires_grad)
        torch.utils.swap_tensors(parameter, moved)
    for module in model.modules():
        module._buffers |= {name: OnGPU(buffer) for name, buffer in module._buffers.items() if buffer is not None}
    if hasattr(model, "data_preprocessor"):
        model.data_preprocessor._device = GPU  # as mmengine's `to` sets it
    return model


class _Operators(TorchDispatchMode):
    def __init__(self, record: Record) -> None:
        super().__init__()
        self.record = record

    def __torch_dispatch__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return _run(function, args, kwargs or {}, self.record)


class _Constructors(TorchFunctionMode):
    """Numbers in Python become tensors, in `torch.tensor` and in an index, below what a dispatch mode sees."""

    def __init__(self, record: Record) -> None:
        super().__init__()
        self.record = record

    def __torch_function__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if function in (torch.tensor, torch.as_tensor) and _is_gpu(kwargs.get("device")):
            return self._sent(function(*args, **{**kwargs, "device": "cpu"}))
        if function is Tensor.new_tensor and isinstance(args[0], OnGPU):
            return self._sent(torch.tensor(*args[1:], **{"dtype": args[0].dtype, **kwargs}))
        if function is Tensor.__getitem__ and isinstance(args[0], OnGPU):
            index = args[1] if isinstance(args[1], tuple) else (args[1],)
            args = (args[0], tuple(torch.tensor(part) if isinstance(part, list) else part for part in index))
        return function(*args, **kwargs)

    def _sent(self, made: Tensor) -> OnGPU:
        self.record.sends[_place()] += 1
        return OnGPU(made)


def _run(function: Any, args: tuple, kwargs: Mapping[str, Any], record: Record) -> Any:
    """Run an operator on the CPU, write down what a GPU would have done, and say where the results are."""
    name = function._schema.name.partition("::")[2]
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    inside = [tensor for tensor in tensors if isinstance(tensor, OnGPU)]
    to_gpu = bool(inside) if kwargs.get("device") is None else _is_gpu(kwargs["device"])
    if name == "copy_":
        to_gpu = isinstance(args[0], OnGPU)
        _note_copy(isinstance(args[1], OnGPU), to_gpu, len(args) > 2 and args[2], record)
    elif name == "_to_copy":
        _note_copy(bool(inside), to_gpu, kwargs.get("non_blocking"), record)
    elif inside:
        _note_operator(name, args, tensors, record)
        if function is torch.ops.aten.repeat_interleave.Tensor and kwargs.get("output_size") is None:
            record.reads[_place()] += 1  # the size of the result is added up on the device
    if kwargs.get("device") is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    args, kwargs = tree_map_only(OnGPU, lambda tensor: tensor.host, (args, dict(kwargs)))
    result = function(*args, **kwargs)
    if not to_gpu:
        return result
    known = {id(tensor.host): tensor for tensor in inside}  # what works in place returns what it was given
    return tree_map_only(Tensor, lambda host: known[id(host)] if id(host) in known else OnGPU(host), result)


def _note_copy(from_gpu: bool, to_gpu: bool, queued: bool, record: Record) -> None:
    if from_gpu and not to_gpu:
        record.reads[_place()] += 1
    elif to_gpu and not from_gpu and not queued:
        record.sends[_place()] += 1


def _note_operator(name: str, args: tuple, tensors: list[Tensor], record: Record) -> None:
    """An operator on tensors of the GPU. An index may be on the host, from where it is sent; so may single numbers."""
    indices = [index for index in args[1] if index is not None] if name in INDEXING else []
    others = [tensor for tensor in tensors if not any(tensor is index for index in indices)]
    if any(tensor.dim() and not isinstance(tensor, OnGPU) for tensor in others):
        record.mixed[f"{name} in {_place()}"] += 1
    if any(not isinstance(index, OnGPU) for index in indices):
        record.sends[_place()] += 1
    if name in READING or any(index.dtype == torch.bool for index in indices):
        record.reads[_place()] += 1


def _is_gpu(device: Any) -> bool:
    return device is not None and torch.device(device).type in (GPU.type, UNDERNEATH)


def _place() -> str:
    """The innermost file of this package that is at work."""
    files = [Path(frame.filename).resolve() for frame in traceback.extract_stack()]
    inside = [file.relative_to(PACKAGE) for file in files if file.is_relative_to(PACKAGE)]
    own = [file.as_posix() for file in inside if file.parts[0] in ROOMS]
    return own[-1] if own else "elsewhere"

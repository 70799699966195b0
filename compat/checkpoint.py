"""Loading checkpoints without running code that a file brings along.

``torch.load(weights_only=True)`` refuses mmengine's checkpoints, because their logs hold ``HistoryBuffer`` objects and
numpy values. Allowing those classes as they are would undo the protection: ``HistoryBuffer`` needs ``getattr``, which
reaches any function of any module, and numpy's dtypes can be given a state that reads raw bytes as objects. So the few
names that mmengine writes are mapped to small readers defined here, which accept plain numbers only, and what they read
is turned into the real values afterwards. So is the ``argparse.Namespace`` of options that research code puts beside its
weights, which becomes a dict. Any other name is refused.

mmengine loads every checkpoint, local or by URL, through this module once ``install_safe_loading`` was called. It may
go when mmengine writes its logs as plain data.
"""

import math
import os
import pickle
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlparse

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

__all__ = ["check_intact", "install_safe_loading", "is_state", "safe_load"]

LONGEST_HEADER = 100_000_000  # bytes, as the safetensors library has it
NUMERIC_CODE = re.compile(r"[<>=|]?[?biufc]\d{0,2}")


def safe_load(path: str | os.PathLike[str], map_location: Any = "cpu") -> Any:
    """Load a checkpoint written by mmengine, mmdet, plain PyTorch or safetensors; nothing in the file is executed.

    Args:
        path: local file.
        map_location: as in ``torch.load``.

    Returns:
        What was saved: tensors, containers, text, numbers, numpy arrays of numbers and mmengine's ``HistoryBuffer``; an
        ``argparse.Namespace`` as a dict.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when the file is no checkpoint, is damaged, or asks for anything but the types above.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        raise ValueError(f"checkpoint '{path}' is a folder; expected a file")
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint '{path}' does not exist")
    with path.open("rb") as file:
        try:
            if _is_safetensors(file):
                return _read_safetensors(path, map_location)
            _refuse_compressed(file)
            return _read(file, map_location)
        except Exception as error:  # a hostile file can make the reader fail in any way
            raise ValueError(_explain(path, error)) from error


def check_intact(path: str | os.PathLike[str]) -> None:
    """Raise ValueError when the bytes of an archive are no longer those that torch wrote: it writes their checksums, and
    does not compare them when it reads.
    """
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if sum(entry.file_size for entry in entries) > os.path.getsize(path):
            raise ValueError(f"checkpoint '{path}' is damaged: it claims more than it holds")
        try:
            broken = archive.testzip()
        except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
            raise ValueError(f"checkpoint '{path}' is damaged: {error}") from error
        if broken:
            raise ValueError(f"checkpoint '{path}' is damaged: {broken} is not what was written")


def is_state(value: Any) -> bool:
    """Whether it is a dict of names and tensors."""
    return (
        isinstance(value, dict)
        and bool(value)
        and all(isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in value.items())
    )


def install_safe_loading() -> None:
    """Make mmengine load every checkpoint, local or by URL, with the protection of ``safe_load``."""
    from mmengine.runner import checkpoint

    checkpoint.CheckpointLoader.register_scheme(prefixes="", loader=load_from_local, force=True)
    checkpoint.load_url = _load_url


def load_from_local(filename: str, map_location: Any) -> Any:
    """mmengine's loader of local files with the protection on; mmengine logs the end of its name."""
    return _without_program(safe_load(filename, map_location))


def _load_url(url: str, model_dir: str | None = None, map_location: Any = None, progress: bool = True) -> Any:
    """mmengine's ``load_url`` with the protection on: download once into ``model_dir``, then load the file."""
    folder = Path(model_dir or Path(torch.hub.get_dir(), "checkpoints"))
    file = folder / Path(urlparse(url).path).name
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(file), progress=progress)
    return load_from_local(str(file), map_location)


def _without_program(checkpoint: Any) -> Any:
    """The checkpoint without ``meta.config``: ``Runner.resume`` executes that text as Python.

    mmengine itself writes ``meta.cfg``, which it does not execute; ``config`` stems from mmdet 2 and carries nothing
    but a check on the number of GPUs.
    """
    if isinstance(checkpoint, dict) and isinstance(checkpoint.get("meta"), dict):
        checkpoint["meta"].pop("config", None)
    return checkpoint


def _read(file: BinaryIO, map_location: Any) -> Any:
    with torch.serialization.safe_globals(READERS), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own remarks on other formats; what matters is said in the error
        return _restored(torch.load(file, map_location=map_location, weights_only=True), {})


def _is_safetensors(file: BinaryIO) -> bool:
    """Whether it begins with a JSON object after the object's size: neither an archive nor a pickle does."""
    start = file.read(9)
    file.seek(0)
    return start[8:] == b"{" and int.from_bytes(start[:8], "little") <= LONGEST_HEADER


def _read_safetensors(path: Path, map_location: Any) -> dict[str, torch.Tensor]:
    """Its tensors; the library checks that the header's claims and the file agree."""
    device = map_location if isinstance(map_location, str | torch.device) else "cpu"
    return load_file(path, device=str(device))


def _explain(path: Path, error: Exception) -> str:
    refused = re.search(r"GLOBAL (\S+)", str(error))
    if isinstance(error, pickle.UnpicklingError) and refused:
        return (
            f"checkpoint '{path}' asks for {refused.group(1)}, which is not among the data types that checkpoints "
            "hold, so it was not loaded: it could run code of its author's choice"
        )
    reason = re.split(r"\n|(?<=[.!]) ", str(error).strip())[0]  # torch goes on to advise against protection
    if isinstance(error, pickle.UnpicklingError | KeyError | IndexError | EOFError) or not reason:
        reason = "it is damaged, no such file at all, or holds more than data"
    kind = "safetensors" if isinstance(error, SafetensorError) else "a PyTorch checkpoint"
    return f"checkpoint '{path}' cannot be read as {kind}: {reason.rstrip('.')}"


def _refuse_compressed(file: BinaryIO) -> None:
    """PyTorch stores its archives uncompressed; a compressed one could unpack to any size."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise ValueError("it is a compressed archive, which PyTorch never writes")
    file.seek(0)


class _Dtype:
    """Stands for ``numpy.dtype``: numbers and booleans only, byte order as its only state."""

    def __init__(self, code: str, align: bool = False, copy: bool = False) -> None:
        if not isinstance(code, str) or not NUMERIC_CODE.fullmatch(code):
            raise ValueError(f"numpy dtype {code!r} is not numeric")
        self.value = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, byte_order, *structure = state
        if any(part is not None for part in structure[:3]):
            raise ValueError("numpy dtype has fields, expected plain numbers")
        self.value = self.value.newbyteorder(byte_order)


class _Array:
    """Stands for ``numpy.ndarray`` and for the function that rebuilds one; its state holds shape, dtype and bytes."""

    def __init__(self, *_: Any) -> None:
        self.value = np.empty(0)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, is_fortran, data = state
        self.value = _numbers(dtype, data, math.prod(shape)).reshape(shape, order="F" if is_fortran else "C")


class _History:
    """Stands for mmengine's ``HistoryBuffer``."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.log, self.count = state["_log_history"], state["_count_history"]
        self.max_length = int(state["max_length"])

    def value(self) -> Any:
        from mmengine.logging import HistoryBuffer

        history = HistoryBuffer(max_length=self.max_length)
        history._log_history, history._count_history = self.log.value, self.count.value
        return history


class _Namespace:
    """Stands for ``argparse.Namespace``; keeps its entries."""

    def __init__(self) -> None:
        self.entries: dict[str, Any] = {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.entries = dict(state)


def _scalar(dtype: _Dtype, data: bytes) -> np.generic:
    return _numbers(dtype, data, 1)[0]


def _numbers(dtype: _Dtype, data: bytes, count: int) -> np.ndarray:
    """(count,) numbers, writable."""
    if not isinstance(dtype, _Dtype) or len(data) != count * dtype.value.itemsize:
        raise ValueError("numpy array is damaged: shape, dtype and number of bytes do not agree")
    return np.frombuffer(data, dtype.value).copy()


def _no_bytes() -> bytes:
    """Stands for ``bytes``, as which pickle writes the data of an empty array."""
    return b""


def _method_name(owner: type, name: str) -> str:
    """Stands for ``getattr``, with which a ``HistoryBuffer`` names its own statistics; those come with the class."""
    return name


READERS: list[Any] = [
    (_Dtype, "numpy.dtype"),
    (_Array, "numpy.ndarray"),
    (_History, "mmengine.logging.history_buffer.HistoryBuffer"),
    (_Namespace, "argparse.Namespace"),
    (_method_name, "builtins.getattr"),
    (_no_bytes, "builtins.bytes"),
    *((_Array, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),  # numpy 1, numpy 2
    *((_scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
]


def _restored(value: Any, memo: dict[int, tuple[Any, Any]]) -> Any:
    """The value with every reader replaced by what it read; lists and dicts are changed in place.

    ``memo`` maps the id of a container seen before to it and its replacement, for cycles and for shared parts.
    """
    if isinstance(value, _Array | _Dtype):
        return value.value
    if isinstance(value, _History):
        return value.value()
    if isinstance(value, _Namespace):
        return _restored(value.entries, memo)
    if type(value) is not tuple and not isinstance(value, dict | list):
        return value
    if id(value) not in memo:
        memo[id(value)] = (value, value)
        memo[id(value)] = (value, _restored_container(value, memo))
    return memo[id(value)][1]


def _restored_container(container: Any, memo: dict[int, tuple[Any, Any]]) -> Any:
    if isinstance(container, tuple):
        return tuple(_restored(item, memo) for item in container)
    keys = list(container) if isinstance(container, dict) else range(len(container))
    for key in keys:
        container[key] = _restored(container[key], memo)
    return container

"""Errors as one sentence for the user; what is none of the user's, nor the environment's, is a bug and stays what it is."""

from __future__ import annotations

import re
import traceback

__all__ = ["sentence"]

DOCTOR = "'detassign doctor' says more"
INSTALL = "install what is missing with: pip install 'detassign[full]'"
MEMORY = "the memory is full; a smaller --batch-size or --set input.scale=... needs less, or --set input.workers=0"
GPU_MEMORY = (
    "the GPU's memory is full; --accumulate 2 (or more), a smaller --batch-size or --set input.scale=... needs less"
)
WORKERS = (
    "a process that reads data was killed, most often because memory ran out; --set input.workers=0 does without them"
)
SHARED = (
    "the shared memory (/dev/shm) is full, through which processes hand over data; enlarge it, or --set input.workers=0"
)
FILES = "more files are open than the system allows; raise the limit (ulimit -n), or --set input.workers=0"
DISK = "a file could not be written whole; is the disk full?"
VISION = f"torchvision's compiled ops do not run; install the torchvision made for this torch; {DOCTOR}"
NUMPY = f"torch cannot use the NumPy that is installed; {DOCTOR}"
DRIVER = f"the GPU cannot be used, --device cpu can; {DOCTOR}"
PORT = (
    "the processes of the job cannot meet; is another job on the same port? torchrun takes another with --master-port"
)
KNOWN = {
    r"shared memory|/dev/shm|Bus error": SHARED,
    r"DataLoader worker .*(exited unexpectedly|killed by signal)": WORKERS,
    r"Too many open files|items of ancdata": FILES,
    r"CUDA out of memory|CUDA error: out of memory": GPU_MEMORY,
    r"(can't|cannot) allocate memory|not enough memory": MEMORY,
    r"PytorchStreamWriter failed|file write failed": DISK,
    r"torchvision::|load custom C\+\+ ops": VISION,
    r"Numpy is not available|compiled using NumPy 1": NUMPY,
    r"no kernel image|NVIDIA driver|CUDA driver|CUDA initialization|CUDA-capable device|CUDA error: system": DRIVER,
    r"failed to listen|address already in use|EADDRINUSE": PORT,
}
"""Words of torch's RuntimeErrors that are no bug -> what there is to do; the first that fits."""


def sentence(error: BaseException) -> str | None:
    """What to say of an error, or None for a bug, of which the traceback tells more."""
    broken = broken_package(error)
    if broken:
        remedy = "reinstall it" if broken == "torch" else DOCTOR  # without torch no doctor
        return f"{broken} does not import ({type(error).__name__}: {_first_line(error)}); {remedy}"
    if isinstance(error, MemoryError):
        return MEMORY
    if isinstance(error, RuntimeError):
        return GPU_MEMORY if type(error).__name__ == "OutOfMemoryError" else _known(str(error))
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"{_line(error)}; {INSTALL}"
    return _line(error) if isinstance(error, ValueError | OSError | ImportError) else None


def broken_package(error: BaseException) -> str | None:
    """The package of others whose import raised the error, if one did."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    names = [str(frame.f_globals.get("__name__")) for frame in frames]
    own = max((index for index, name in enumerate(names) if name.partition(".")[0] == "detassign"), default=len(names))
    theirs = range(own + 1, len(frames))
    importing = [names[index] for index in theirs if frames[index].f_code.co_name == "<module>"]
    return importing[-1].partition(".")[0] if importing else None


def _known(text: str) -> str | None:
    return next((said for words, said in KNOWN.items() if re.search(words, text, re.IGNORECASE)), None)


def _line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    text = str(error).strip()
    if "Original Traceback" in text:  # from a data loader's worker; its last line is the error itself
        text = text.splitlines()[-1].partition(": ")[2]
    return " ".join(text.split()) or type(error).__name__


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0]

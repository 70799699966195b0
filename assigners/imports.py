"""Parts of one's own: a file or a module whose matchings, weightings, presets … are to be known by name.

Loading runs the code, so nothing is loaded but what a caller names here; a spec that names a file loads nothing. A file
becomes the module ``detassign_imports.NAME``, whatever folder it lies in, so that what it defines can be pickled.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from .registry import all_or_nothing, forget
from .spec import PACKAGE, module_name

LARGEST = 2**20  # bytes of a file


@dataclass(frozen=True)
class Imported:
    """Loaded code: a file's name and content, or a module's dotted name alone."""

    name: str
    content: bytes | None = None

    @property
    def digest(self) -> str | None:
        """SHA-256 of a file's content."""
        return None if self.content is None else digest_of(self.content)


_loaded: dict[str, Imported] = {}


def load(target: str | Path) -> Imported:
    """Load a file, ``mine.py``, or a module that Python finds, ``package.module``: what it registers is known from then on.

    A file that is as it was when loaded before is not run again; one that has changed takes the place of what it was.

    Raises:
        OSError, ValueError: when there is no such file or module, or its code fails, with the line.
    """
    if str(target).endswith(".py"):
        return load_content(Path(target).name, read(Path(target)), Path(target))
    return load_module(str(target))


def load_content(name: str, content: bytes, path: Path | None = None) -> Imported:
    """Load a file by its name and content; `path` is where a traceback finds its lines."""
    if _loaded.get(name) != Imported(name, content):
        module = ModuleType(module_name(name))
        module.__file__ = str(path or name)
        with _failing_as_a_sentence(name, module.__file__), _in_place(module):
            forget(module.__name__)
            exec(compile(content, module.__file__, "exec", dont_inherit=True), vars(module))
        _loaded[name] = Imported(name, content)
    return _loaded[name]


def load_module(name: str) -> Imported:
    """Load a module by its dotted name."""
    if not all(part.isidentifier() for part in name.split(".")):
        raise ValueError(f"import {name!r}: expected a Python file, mine.py, or the dotted name of a module")
    with _failing_as_a_sentence(name):
        importlib.import_module(name)
    _loaded[name] = Imported(name)
    return _loaded[name]


def find(name: str) -> Imported | None:
    """What was loaded last under a file's or a module's name."""
    return _loaded.get(name)


def read(path: Path) -> bytes:
    """The content of a file of code.

    Raises:
        OSError, ValueError: when there is no such file, or it is larger than code is.
    """
    if not path.is_file():
        raise FileNotFoundError(f"import {path}: there is no such file")
    with path.open("rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError(f"import {path}: expected code, at most {LARGEST} bytes, got more")
    return content


def digest_of(content: bytes) -> str:
    """SHA-256 of a file's content, hexadecimal."""
    return hashlib.sha256(content).hexdigest()


@contextmanager
def _in_place(module: ModuleType) -> Iterator[None]:
    """The module where Python finds modules; what was there before comes back when something fails."""
    sys.modules.setdefault(PACKAGE, ModuleType(PACKAGE)).__path__ = []
    before = sys.modules.get(module.__name__)
    sys.modules[module.__name__] = module
    try:
        yield
    except BaseException:
        sys.modules.pop(module.__name__)
        if before is not None:
            sys.modules[module.__name__] = before
        raise


@contextmanager
def _failing_as_a_sentence(name: str, file: str | None = None) -> Iterator[None]:
    """Takes back what failing code has registered, and says in one sentence where it failed."""
    try:
        with all_or_nothing():
            yield
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}."):
            raise ValueError(f"import {name}: Python finds no such module; a file is named with its .py") from None
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
        line = error.lineno if isinstance(error, SyntaxError) else next(reversed(lines), None)
        place = f"line {line}: " if line else ""
        raise ValueError(f"import {name}: {place}{type(error).__name__}: {error}") from error

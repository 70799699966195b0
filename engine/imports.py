"""Code that a run brings along: written down in its config, copied into its folder, and run with its user's consent alone.

A config's "imports" hold the name of every file with the SHA-256 of its content, and of every module with None. Files lie in
the folder IMPORTS beside the config. Naming code on the command line is consent, and is remembered (`trust`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Container, Iterable, Mapping
from pathlib import Path
from typing import Any

from ..assigners import imports
from ..assigners.imports import Imported
from .files import write_bytes
from .trust import is_trusted, remember

IMPORTS = "imports"
MOST = 32  # files and modules of a run
FILE, MODULE = r"[A-Za-z0-9_-][\w.-]*\.py", r"[^\W\d]\w*(\.[^\W\d]\w*)*"


def load_named(targets: Iterable[str]) -> dict[str, str | None]:
    """Load the files and modules that a user names, and trust them from now on; what a config holds of them.

    Raises:
        OSError, ValueError: for code that is not there or fails, and for two files of one name.
    """
    found = {}
    for target in dict.fromkeys(targets):
        one = imports.load(target)
        if found.get(one.name, one.digest) != one.digest:
            raise ValueError(f"import {target}: another file is called {one.name} too; give one of them another name")
        found[one.name] = one.digest
        remember(_consent(one), one.name)
    return found


def restore(config: Mapping[str, Any], folder: Path, trust: bool = False, given: Container[str] = ()) -> None:
    """Load the code that a run brings.

    Args:
        config: the run's.
        folder: where it lies; files are in IMPORTS there.
        trust: the user agrees to code that has not run here before, and it is trusted from now on.
        given: names of files and modules that are loaded already, which take the place of the run's.

    Raises:
        OSError, ValueError: for code that nobody has agreed to, that is not what the run was made with, or that fails.
    """
    recorded = _recorded(config, folder)
    brought = [_brought(name, digest, folder) for name, digest in recorded.items() if name not in given]
    strange = [one.name for one in brought if not is_trusted(_consent(one))]
    if strange and not trust:
        where = folder / IMPORTS if all(name.endswith(".py") for name in strange) else folder
        raise ValueError(
            f"{where}: the run brings code that you have not run here before, {', '.join(strange)}; read it, and say --trust "
            "to run it"
        )
    adopt(brought)
    for one in brought:
        remember(_consent(one), one.name)


def code_of(config: Mapping[str, Any]) -> list[Imported]:
    """The loaded code that a config names, for another process to `adopt` or a folder to hold."""
    recorded = config.get("imports") or {}
    found = {name: imports.find(name) for name in recorded}
    return [one for name, one in found.items() if one is not None and one.digest == recorded[name]]


def adopt(code: Iterable[Imported]) -> None:
    """Load code that was agreed to."""
    for one in code:
        if one.content is None:
            imports.load_module(one.name)
        else:
            imports.load_content(one.name, one.content)


def save(config: Mapping[str, Any], folder: Path) -> None:
    """Leave a copy of every file that a config names in the folder that is to hold the config."""
    for one in code_of(config):
        if one.content is not None:
            (folder / IMPORTS).mkdir(parents=True, exist_ok=True)
            write_bytes(one.content, folder / IMPORTS / one.name)


def _recorded(config: Mapping[str, Any], folder: Path) -> Mapping[str, str | None]:
    """A config's imports, checked: it may come from anywhere."""
    recorded = config.get("imports") or {}
    sound = isinstance(recorded, Mapping) and len(recorded) <= MOST
    if not sound or not all(isinstance(n, str) and _is_sound(n, digest) for n, digest in recorded.items()):
        raise ValueError(f"config of {folder}: imports are {recorded!r}; expected names of files and modules")
    return recorded


def _is_sound(name: str, digest: Any) -> bool:
    is_file = re.fullmatch(FILE, name, re.ASCII) and isinstance(digest, str)
    return bool(is_file or (re.fullmatch(MODULE, name) and digest is None))


def _brought(name: str, digest: str | None, folder: Path) -> Imported:
    """A file or module of a run, not loaded yet."""
    if digest is None:
        return Imported(name)
    path = folder / IMPORTS / name
    found = Imported(name, imports.read(path))
    if found.digest != digest:
        raise ValueError(
            f"{path}: not the file that the run was made with; --import it, or another, to use it in its place"
        )
    return found


def _consent(code: Imported) -> str:
    """What consent to code is remembered by: a file's content, a module's name."""
    return code.digest or hashlib.sha256(f"module {code.name}".encode()).hexdigest()

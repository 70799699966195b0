"""Finding config fragments and recipes by name."""

from __future__ import annotations

import ast
import importlib
import re
import runpy
import traceback
from pathlib import Path
from typing import Any

SHARED = ("parts", "backbones", "query_parts", "query_constants", "tiny_parts", "dw_parts")  # no fragments: helpers
BACKBONE = re.compile(r"_(?:\dscale_)?(?:r\d+|mobilenetv2|tiny|swin|convnext)(?:_|$)")
_CONFIGS = Path(__file__).resolve().parent.parent / "configs"


def names(kind: str) -> dict[str, str]:
    """Name -> first line of its docstring, of all fragments of a kind."""
    return {name: _summary(_CONFIGS / kind / f"{name}.py") for name in stems(kind)}


def stems(kind: str) -> list[str]:
    """The names alone, which need no file to be read."""
    return sorted(f.stem for f in (_CONFIGS / kind).glob("*.py") if f.stem not in ("__init__", *SHARED))


def detectors_by_family() -> dict[str, list[str]]:
    """Names of the detectors by what precedes backbone and size in them.

    >>> detectors_by_family()["dino"][:2]
    ['dino_4scale_convnext_l', 'dino_4scale_convnext_xl']
    """
    families: dict[str, list[str]] = {}
    for name in names("detectors"):
        families.setdefault(BACKBONE.split(name)[0], []).append(name)
    return families


def load(kind: str, name: str) -> dict[str, Any]:
    """The public variables of a fragment.

    Raises:
        ValueError: for an unknown name, with the nearest known ones.
    """
    known = stems(kind)
    if name not in known:
        from ..assigners.registry import unknown_name  # which needs torch; names are also asked for without it

        raise ValueError(unknown_name(kind.removesuffix("s"), name, known))
    module = importlib.import_module(f"..configs.{kind}.{name}", __package__)
    return {key: value for key, value in vars(module).items() if not key.startswith("_")}


def load_file(path: Path) -> dict[str, Any]:
    """The variables that a config file of the user's defines; it is Python and is run.

    Raises:
        ValueError: with the file and the line, when it does not run.
    """
    try:
        variables = runpy.run_path(str(path))
    except (Exception, SystemExit) as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        line = getattr(error, "lineno", None) or (lines[-1] if lines else None)
        place = f"{path}, line {line}" if line else str(path)
        raise ValueError(f"config {place}: {type(error).__name__}: {error}") from error
    return {key: value for key, value in variables.items() if not key.startswith("_")}


def _summary(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split())

"""What the cells of a comparison are trained in: decided once, where they are planned, and kept where it goes on.

A cell that decided for itself might decide otherwise than the one beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from ...engine.config import CONFIG, read
from ...engine.precision import Precision, kept, precision_of
from ...engine.values import DTYPES
from .records import CELLS, read_records


def decide(config: Mapping[str, Any], folders: Iterable[Path], here: bool) -> Precision:
    """The precision of all cells.

    Args:
        config: of any of them, on the device that cells run on.
        folders: of comparisons whose cells are, or become, its own.
        here: cells run on this machine.

    Raises:
        ValueError: for "auto" of cells that run elsewhere, unless some have begun.
    """
    asked = config["precision"]
    if asked in DTYPES:
        return Precision(getattr(torch, asked))
    known = kept(asked, next(begun(folders), None))
    if known or here:
        return known or precision_of(config)
    if asked == "auto":
        raise ValueError("--precision auto: cells of a cluster run elsewhere than it measures; name a precision")
    return Precision(torch.bfloat16, "amp: GPUs without bfloat16 want --precision float16")


def begun(folders: Iterable[Path]) -> Iterator[str]:
    """What cells there are trained in, as far as they say: the finished ones by their records, the others by their configs."""
    for folder in folders:
        found = [record["conditions"].get("precision") for record in read_records(folder)]
        found += [read(path).get("precision") for path in sorted((folder / CELLS).glob(f"*/*/*/{CONFIG}"))]
        yield from (name for name in found if name in DTYPES)

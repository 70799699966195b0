"""The checkpoints of a run's folder, and choosing among them.

They are found by their names in the folder and by nothing else, so a run that was moved or copied is whole where it lies.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..compat import check_intact, safe_load
from .conversion.reading import check_finite, weights_of
from .notes import note

BEST, BEST_EMA = "best.pth", "best_ema.pth"  # of weights, of averaged weights
EPOCH = re.compile(r"epoch_([1-9]\d{0,8})\.pth")
NEEDED = {"meta", "state_dict", "optimizer", "message_hub"}  # to go on training
NONE = {"best": BEST, "ema": f"{BEST_EMA}; 'train --ema' makes one"}
Problem = Callable[[Path, Any], str | None]


@dataclass(frozen=True)
class Chosen:
    """A checkpoint of a run.

    Attributes:
        path: of the file.
        epoch: how many epochs it has behind it; None where it does not say.
        skipped: files that would have come first and cannot be used, with the reason.
        best: epoch of the run's best checkpoint, None where there is none that can be used.
        best_ema: epoch of the best averaged weights, likewise.
        record: what the run has written down in it: its config, and a fingerprint of its data.
    """

    path: Path
    epoch: int | None
    skipped: dict[Path, str] = field(default_factory=dict)
    best: int | None = None
    best_ema: int | None = None
    record: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.path}" if self.epoch is None else f"{self.path}, epoch {self.epoch}"


def epochs(folder: Path) -> dict[Path, int]:
    """The checkpoints of single epochs in a run's folder, the newest first."""
    found = {path: int(match[1]) for path in folder.iterdir() if (match := EPOCH.fullmatch(path.name))}
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def epoch_file(folder: Path, epoch: int) -> Path:
    """The checkpoint of an epoch."""
    return folder / f"epoch_{epoch}.pth"


def any_checkpoint(folder: Path) -> bool:
    """Whether a run's folder holds one, readable or not."""
    return folder.is_dir() and ((folder / BEST).exists() or bool(epochs(folder)))


def choose(folder: Path, wanted: str | os.PathLike[str] | None = None) -> Chosen:
    """The checkpoint of a run to use: the best, or where there is none the newest; files that cannot be read are skipped,
    with a note.

    Args:
        folder: of the run.
        wanted: "best", "last" or "ema" (the best averaged weights) for that one, or a file, as a path or by its name in the
            folder.

    Raises:
        FileNotFoundError: when there is no such checkpoint.
        ValueError: when none of them can be read.
    """
    if wanted is not None and str(wanted) not in ("best", "last", "ema"):
        return Chosen(_named(folder, Path(wanted)), None)
    last, (best, ema) = [*epochs(folder)], ([p] if (p := folder / name).exists() else [] for name in (BEST, BEST_EMA))
    files = {"best": best, "last": last or best, "ema": ema}.get(str(wanted), best + last)
    if not files:
        raise FileNotFoundError(f"run folder {folder} holds no {NONE.get(str(wanted), 'checkpoint yet')}")
    chosen = _first(files, {}, weights_problem)
    for reason in chosen.skipped.values():
        note(f"{reason}; {chosen} is taken instead")
    return chosen


def newest(folder: Path, problem: Problem) -> Chosen:
    """The newest checkpoint of a run that training can go on from; the best counts by its epoch.

    Args:
        folder: of the run; it has a checkpoint.
        problem: says what is wrong with a file of this content, if anything.

    Raises:
        ValueError: when none can be used.
    """
    files, skipped, best = epochs(folder), {}, folder / BEST
    if best.exists():
        content, reason = _read(best, problem)
        if reason:
            skipped[best] = reason
        else:
            files[best] = content["meta"]["epoch"]
    order = sorted(files, key=lambda path: (-files[path], path == best))
    return replace(_first(order, skipped, problem), best=files.get(best), best_ema=_averaged_epoch(folder / BEST_EMA))


def _averaged_epoch(path: Path) -> int | None:
    """The epoch of averaged weights, None where there are none to use."""
    content, reason = _read(path, weights_problem) if path.exists() else (None, "missing")
    return None if reason else _epoch(content)


def weights_problem(path: Path, content: Any) -> str | None:
    """Why there are no weights to use in a file of this content, None where there are."""
    try:
        check_finite(weights_of(content, path).state, path)
    except ValueError as error:
        return str(error)
    return None


def training_problem(path: Path, content: Any) -> str | None:
    """Why training cannot go on from a file of this content, None where it can."""
    reason = weights_problem(path, content)
    if reason:
        return reason
    meta = content.get("meta")
    if not content.keys() >= NEEDED or not isinstance(meta, dict) or not meta.keys() >= {"epoch", "iter"}:
        return f"{path} holds weights alone, from which training cannot go on"
    named = EPOCH.fullmatch(path.name)
    if named and int(named[1]) != meta["epoch"]:
        return f"{path} is the checkpoint of epoch {meta['epoch']}, whatever its name says"
    return None


def set_aside(path: Path) -> Path:
    """Give a file a name under which nothing will be written, and tell it."""
    aside, number = path.with_name(f"{path.name}.unused"), 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.unused-{number}")
    return path.rename(aside)


def _first(files: Iterable[Path], skipped: dict[Path, str], problem: Problem) -> Chosen:
    """The first file without a problem.

    Raises:
        ValueError: when there is none.
    """
    skipped = dict(skipped)
    for path in files:
        content, reason = _read(path, problem)
        if not reason:
            return Chosen(path, _epoch(content), skipped, record=_record(content))
        skipped[path] = reason
    raise ValueError(f"no checkpoint of the run can be used: {'; '.join(skipped.values())}")


def _read(path: Path, problem: Problem) -> tuple[Any, str | None]:
    """What a file holds, and what is wrong with it."""
    try:
        content = safe_load(path)
        check_intact(path)
    except (OSError, ValueError) as error:
        return None, str(error)
    return content, problem(path, content)


def _epoch(content: Any) -> int | None:
    meta = content.get("meta")
    epoch = meta.get("epoch") if isinstance(meta, dict) else None
    return epoch if isinstance(epoch, int) else None


def _record(content: Any) -> dict[str, Any]:
    record = content.get("run")
    return record if isinstance(record, dict) else {}


def _named(folder: Path, wanted: Path) -> Path:
    """A checkpoint by its path, or by its name in the folder."""
    places = [wanted, folder / wanted] if wanted.name == str(wanted) else [wanted]
    found = next((place for place in places if place.is_file()), None)
    if found is None and wanted.is_dir():
        raise ValueError(f"checkpoint '{wanted}' is a folder; expected a file, such as {wanted / BEST}")
    if found is None:
        raise FileNotFoundError(
            f"checkpoint '{wanted}' does not exist" + f", nor does {places[-1]}" * (len(places) > 1)
        )
    return found

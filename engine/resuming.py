"""Going on with a run: from where, what may have changed since it stopped, and what that changes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.runner import Runner
from torch import nn

from ..data import DataSource
from ..data.sources import SPLITS
from .build import mismatch
from .checkpoints import newest, set_aside, training_problem
from .config import CONFIG, read, source_of, up_to_date
from .conversion.reading import weights_of
from .files import sha256_of_split, write_json
from .notes import note
from .precision import may_mean

FREE = (
    "name",
    "device",
    "init",
    "pretrained",
    "input.workers",
    "evaluation.every",
    "evaluation.batch_size",
    "telemetry",
    "log",
)
PLACES = ("data.name", "data.form", "data.category_ids", *(f"data.{split}_{what}" for split in SPLITS
          for what in ("annotations", "images")))  # fmt: skip
PACE = ("schedule.epochs", "schedule.steps", "schedule.batch_size", "schedule.decay")
BESIDE = ("schedule.accumulate", "schedule.ema", "evaluation.patience")  # may change on the way, as the rate does not
SHOWN = 4  # differences that are named one by one


@dataclass(frozen=True)
class Start:
    """Where a run goes on.

    Attributes:
        path: of the checkpoint.
        epoch: how many epochs it has behind it.
        best: epoch of the best checkpoint that is there, None where there is none.
        best_ema: of that of the averaged weights.
        pace_changed: the learning rate follows another curve, or the same one in steps of another length.
        notes: what the user was told.
    """

    path: Path
    epoch: int
    best: int | None
    best_ema: int | None
    pace_changed: bool
    notes: tuple[str, ...]


def find_start(config: Mapping[str, Any], folder: Path, model: nn.Module) -> Start:
    """Choose the newest checkpoint to go on from; set aside what is newer and cannot be used, so that nothing writes over it.

    Notes tell what was chosen in place of what, and what has changed. The folder's config is then `config`.

    Args:
        config: resolved.
        folder: of the run; it has a checkpoint.
        model: of that config.

    Raises:
        ValueError: when the config is another run's, or no checkpoint can be used.
    """
    recorded, own = read(folder / CONFIG), model.state_dict()
    check_changes(differences(recorded, config), folder)

    def problem(path: Path, content: Any) -> str | None:
        return training_problem(path, content) or _foreign(path, content, recorded, own)

    chosen = newest(folder, problem)
    before = _config_of(chosen.record) or recorded
    changed, epochs = differences(before, config), config["schedule"]["epochs"]
    if epochs < chosen.epoch:
        raise ValueError(f"schedule.epochs: the run has {chosen.epoch} epochs behind it already, got {epochs}")
    moved = _data_note(chosen.record.get("data"), fingerprint(source_of(config)))
    aside = [f"{reason}; it is now called {set_aside(path).name}, and the run goes on from {chosen}"
             for path, reason in chosen.skipped.items()]  # fmt: skip
    notes = (*aside, *_change_notes(changed), *moved)
    for sentence in notes:
        note(sentence)
    write_json(config, folder / CONFIG)
    pace_changed = bool(moved) or any(_is_one_of(key, PACE) for key in changed)
    return Start(chosen.path, chosen.epoch, chosen.best, chosen.best_ema, pace_changed, notes)


def differences(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> dict[str, tuple[Any, Any]]:
    """Dotted keys whose values differ, with both; a key that is left out is None.

    >>> differences({"seed": 0, "schedule": {"epochs": 2}}, {"seed": 0, "schedule": {"epochs": 3}, "init": None})
    {'schedule.epochs': (2, 3)}
    """
    found: dict[str, tuple[Any, Any]] = {}
    for key in [*before, *(key for key in now if key not in before)]:
        old, new = before.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found |= differences(old, new, f"{prefix}{key}.")
        elif old != new:
            found[prefix + key] = (old, new)
    return found


def refused(changed: Mapping[str, tuple[Any, Any]]) -> dict[str, tuple[Any, Any]]:
    """The differences that make it another run."""
    return {key: values for key, values in conditions(changed).items() if not _is_one_of(key, (*PACE, *BESIDE))}


def conditions(changed: Mapping[str, tuple[Any, Any]]) -> dict[str, tuple[Any, Any]]:
    """The differences that change what a run learns; where its data lies is none.

    Nor is a precision that was left to the machine, as older configs do, and now has a name that it may have come to.
    """
    told = {key: values for key, values in changed.items() if not _is_one_of(key, (*FREE, *PLACES))}
    return {key: values for key, values in told.items() if key != "precision" or not may_mean(*values)}


def check_changes(changed: Mapping[str, tuple[Any, Any]], folder: Path) -> None:
    """Raise ValueError where the config of a folder's run differs in what makes it another run."""
    other = refused(changed)
    if other:
        raise ValueError(
            f"work dir {folder} holds a run of another config: {named(other, 'there', 'here')}; --resume takes other epochs, "
            "decay, batch size, parts of it, average, patience, workers, device and place of the data; for anything else start "
            "another run, if you like from a checkpoint of this one with --init"
        )


def fingerprint(source: DataSource) -> dict[str, Any]:
    """What tells a data set from another one wherever it lies: the SHA-256 of its training annotations."""
    return {"train_sha256": sha256_of_split(source.place("train"))}


def catch_up(runner: Runner, schedulers: Sequence[Mapping[str, Any]], rates: Sequence[float]) -> None:
    """Put the learning rate where these schedulers have it after the epochs that the run has behind it.

    Args:
        runner: resumed.
        schedulers: their configs.
        rates: of the parameter groups before any scheduler.
    """
    groups = runner.optim_wrapper.param_groups
    was = groups[0]["lr"]
    for group, rate in zip(groups, rates, strict=True):
        group["lr"] = group["initial_lr"] = rate
    runner.param_schedulers = runner.build_param_scheduler([dict(one) for one in schedulers])
    for _ in range(runner.epoch):
        for by_epoch, times in ((False, len(runner.train_dataloader)), (True, 1)):
            for scheduler in [one for one in runner.param_schedulers if one.by_epoch is by_epoch]:
                for _ in range(times):
                    scheduler.step()
    if not math.isclose(groups[0]["lr"], was, rel_tol=1e-3):
        note(f"the learning rate goes on at {groups[0]['lr']:.3g}, where it was {was:.3g}")


def _foreign(path: Path, content: Mapping[str, Any], recorded: Mapping[str, Any], own: Mapping[str, Any]) -> str | None:
    """Why a checkpoint is not of this folder's run."""
    config = _config_of(content.get("run"))
    other = refused(differences(config, recorded)) if config else {}
    if other:
        return f"{path} is of another run ({named(other, 'in it', f'in {CONFIG}')})"
    return mismatch(own, weights_of(content, path).state, path)


def _config_of(record: Any) -> dict[str, Any] | None:
    """The config that a checkpoint was written under, in today's form as the folder's is; None where it does not say."""
    config = record.get("config") if isinstance(record, Mapping) else None
    return up_to_date(config) if isinstance(config, Mapping) else None


def named(changed: Mapping[str, tuple[Any, Any]], there: str, here: str) -> str:
    """Differences in words, the first few one by one.

    >>> named({"schedule.epochs": (2, 3)}, "there", "here")
    'schedule.epochs is 2 there and 3 here'
    """
    shown = [f"{key} is {old!r} {there} and {new!r} {here}" for key, (old, new) in [*changed.items()][:SHOWN]]
    return ", ".join([*shown, *([f"{len(changed) - SHOWN} more"] if len(changed) > SHOWN else [])])


def _change_notes(changed: Mapping[str, tuple[Any, Any]]) -> Iterator[str]:
    """What the changes of a config change."""
    meaning = {
        "schedule.epochs": "the learning rate follows the curve of that many epochs from here on",
        "schedule.steps": "the learning rate follows the curve of that many steps from here on",
        "schedule.batch_size": "the learning rate is scaled with it from here on, and an epoch has other steps",
        "schedule.decay": "the learning rate follows that curve from here on",
        "device": "rounding differs between devices, so the run does not repeat to the bit",
    }
    for key, (old, new) in changed.items():
        said = next((text for part, text in meaning.items() if _is_one_of(key, (part,))), None)
        if said:
            yield f"{key} was {old!r} and is {new!r}: {said}"


def _data_note(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> list[str]:
    if before is None or before == now:
        return []
    return [
        "the training annotations are not those that the run has learnt from so far; it goes on with what is there now"
    ]


def _is_one_of(key: str, known: Sequence[str]) -> bool:
    """Whether it is one of the keys or lies below one."""
    return any(key == one or key.startswith(f"{one}.") for one in known)

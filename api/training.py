"""`detassign.train`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from detassign.engine.config import CONFIG
from detassign.engine.files import new_run_folder
from detassign.engine.imports import adopt, code_of
from detassign.engine.processes import joined, once
from detassign.engine.resolving import resolve_config
from detassign.engine.train import train as train_config

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from detassign.assigners.imports import Imported

__all__ = ["Run", "TrainOptions", "train"]

Place = str | Path
PLACES = ("data_root", "pretrained", "init")  # options that are files and folders


class TrainOptions(TypedDict, total=False):
    """What `detassign train` has options for, by their names; what is left out, or None, is as usual."""

    detector: str | None
    assigner: str | Mapping[str, Any] | None
    data: Place | None
    data_root: Place | None
    images: int | None
    seed: int | None
    imports: Iterable[str]
    scheme: str | None
    extra: Sequence[str]
    denoising: str | None
    schedule: str | None
    epochs: int | None
    batch_size: int | None
    accumulate: int | None
    augment: Sequence[str] | None
    ema: float | None
    patience: int | None
    log: Sequence[str] | None
    pretrained: Place | None
    init: Place | None
    device: str | None
    precision: str | None
    telemetry: bool | None
    settings: Mapping[str, Any] | Iterable[str]
    trust: bool


@dataclass(frozen=True)
class Run:
    """A training that is over.

    Attributes:
        folder: with its config, checkpoints, metrics and log; `detassign.load` takes it.
        summary: what `summary.json` holds there.
    """

    folder: Path
    summary: dict[str, Any]

    @property
    def metrics(self) -> dict[str, Any]:
        """The last measured: AP and its kin as shares of 1, and under "classes" AP by class name."""
        return self.summary["metrics"]


def train(
    config: Place | None = None,
    *,
    work_dir: Place | None = None,
    resume: bool = False,
    quiet: bool = False,
    **options: Unpack[TrainOptions],
) -> Run:
    """Train a detector under an assigner, as `detassign train` does.

    Args:
        config: a recipe's name, a Python file of that form, or a run's config.json; options go before what it says.
        work_dir: folder of the run; runs/NAME if left out.
        resume: go on with the run in `work_dir`.
        quiet: no progress bar.
        options: those of the command line, `--batch-size 4` as `batch_size=4`; `settings` is `--set`, a dict of dotted keys
            and values, and `imports` is `--import`.

    Raises:
        ValueError, OSError: for options that do not go together, bad data, and a folder that is in use.
    """
    folder = None if work_dir is None else Path(work_dir)
    if resume and folder is None:
        raise ValueError("--resume: name the run's folder with --work-dir")

    def resolve() -> tuple[dict[str, Any], list[Imported]]:
        named = None if config is None else str(config)
        if named is None and resume and folder is not None:
            if not (folder / CONFIG).is_file():
                raise ValueError(f"--resume: {folder} holds no run; a new one starts without --resume")
            named = str(folder / CONFIG)
        resolved = resolve_config(named, **in_plain_types(options))
        return resolved, code_of(resolved)

    with joined():
        resolved, code = once(resolve)
        adopt(code)
        place = once(lambda: folder or new_run_folder(resolved["name"]))
        return Run(place, train_config(resolved, place, resume=resume, quiet=quiet))


def in_plain_types(options: Mapping[str, Any]) -> dict[str, Any]:
    """The same with paths as the engine takes them, which callers may give as text."""
    places = {name: Path(options[name]) for name in PLACES if options.get(name) is not None}
    data = {"data": str(options["data"])} if options.get("data") is not None else {}
    return {**options, **data, **places}

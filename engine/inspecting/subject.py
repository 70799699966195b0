"""What answers: the form of detector, its config and checkpoints, and the data set whose images are shown."""

from __future__ import annotations

from collections.abc import Container, Iterable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from ...data import DataSource
from ..checkpoints import Chosen
from ..config import find_source
from ..finding import checked
from ..predict import find_model
from ..resolving import load_code, on_data, resolve_config
from .asked import Asked

DETECTOR = "fcos_r50"  # strides 8 to 128


class Subject(NamedTuple):
    """What answers.

    Attributes:
        form: the module that knows detectors of this kind: `points`, `queries` or `outputs`.
        config: gives image size, strides and model.
        checkpoints: of the run; none without a run, two to compare.
        source: the data set.
    """

    form: ModuleType
    config: dict[str, Any]
    checkpoints: list[Chosen]
    source: DataSource

    @property
    def checkpoint(self) -> Path | None:
        """The one checkpoint, or none."""
        return self.checkpoints[0].path if self.checkpoints else None


def find_subject(
    wanted: Asked,
    data: str | None = None,
    data_root: Path | None = None,
    images: int | None = None,
    imports: Iterable[str] = (),
    trust: bool = False,
) -> Subject:
    """What answers what is wanted; the code that it needs is loaded, its data checked.

    Raises:
        ValueError, OSError: for what is not there, does not go together, or is faulty.
    """
    code = load_code(imports, ",".join(wanted.specs or ()) or None, {})
    config, checkpoints = _config(wanted, code, trust, data, data_root, images)
    form = _form(config, wanted)
    source = find_source(config, [wanted.split])
    checked(source, [wanted.split])
    return Subject(form, config, checkpoints, source)


def _form(config: dict[str, Any], wanted: Asked) -> ModuleType:
    """The module that shows detectors of this kind."""
    if "queries" not in config["model"]:
        if wanted.outputs:
            raise ValueError("--outputs: belongs to query detectors, and this is a dense one; leave it out")
        return import_module(".points", __package__)
    if wanted.run is None:
        raise ValueError(
            f"--detector {wanted.detector}: a query detector has no matches to show before it is trained; give a trained "
            "run's folder with --run"
        )
    return import_module(".outputs" if wanted.outputs else ".queries", __package__)


def _config(
    wanted: Asked, code: Container[str], trust: bool, data: str | None, root: Path | None, images: int | None
) -> tuple[dict[str, Any], list[Chosen]]:
    if wanted.run is None:
        options = {"data": data, "data_root": root, "images": images}
        return resolve_config(detector=wanted.detector or DETECTOR, **options), []
    found = [find_model(wanted.run, name, trust, code) for name in wanted.checkpoints or [None]]
    config = found[0][0]
    there = on_data(config, data, root, images)
    if there["data"]["classes"] != config["data"]["classes"]:
        raise ValueError(
            f"--data {data}: has the classes of the run {wanted.run} in another order; expected the same ids"
        )
    return there, [chosen for _, chosen in found]

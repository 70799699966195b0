"""`detassign.evaluate`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detassign.engine.checkpoints import Chosen
from detassign.engine.config import find_source
from detassign.engine.finding import checked
from detassign.engine.imports import load_named
from detassign.engine.predict import find_model
from detassign.engine.processes import joined, once
from detassign.engine.resolving import on_data
from detassign.engine.train import evaluate as evaluate_config

__all__ = ["Evaluation", "evaluate"]


@dataclass(frozen=True)
class Evaluation:
    """How well a checkpoint detects.

    Attributes:
        metrics: AP and its kin as shares of 1, NaN without objects of a size, and under "classes" AP by class name.
        name, split: of the run and of what it was measured on.
        checkpoint: which it was, and why.
        max_detections: of an image and class that count.
    """

    metrics: dict[str, Any]
    name: str
    split: str
    checkpoint: Chosen
    max_detections: int


def evaluate(
    run: str | Path,
    *,
    checkpoint: str | None = None,
    split: str = "val",
    data: str | Path | None = None,
    data_root: str | Path | None = None,
    images: int | None = None,
    device: str | None = None,
    imports: Iterable[str] = (),
    trust: bool = False,
) -> Evaluation:
    """Measure the AP of a trained run on its own data, or on other data of the same classes, as `detassign test` does.

    Args:
        run: its folder, or a checkpoint in it.
        checkpoint: of a folder: "best", "last" or a file; the best if left out.
        split: "val", "train" or "test".
        data, data_root, images: the data set, where it is not the run's own or lies elsewhere now.
        device: "auto", "cpu" or "cuda[:index]"; the run's if left out.
        imports: files and modules that bring parts of the model, in the place of those that the run brings.
        trust: run the code that comes with a run made elsewhere.

    Raises:
        ValueError, OSError: for what is no run, for data that is not there, faulty or of other classes.
    """
    root = None if data_root is None else Path(data_root)
    with joined():
        config, chosen = find_model(Path(run), checkpoint, trust, load_named(imports))
        classes = config["data"]["classes"]
        config = once(lambda: on_data(config, None if data is None else str(data), root, images))
        if device:
            config["device"] = device
        once(lambda: checked(find_source(config, [split]), [split]))
        metrics = evaluate_config(config, chosen.path, split, classes)
    return Evaluation(metrics, config["name"], split, chosen, config["evaluation"]["max_detections"])

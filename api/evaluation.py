"""`detassign.evaluate`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from detassign.assigners.spec import slug
from detassign.data import DataSource
from detassign.data.detections import read_detections
from detassign.data.reader import load_split
from detassign.engine import evaluation as measuring
from detassign.engine.checkpoints import Chosen
from detassign.engine.config import find_source
from detassign.engine.detected import Detected
from detassign.engine.evaluation_report import report_folder, write_report
from detassign.engine.files import new_run_folder
from detassign.engine.finding import checked, find_data
from detassign.engine.imports import load_named
from detassign.engine.notes import note
from detassign.engine.predict import find_model
from detassign.engine.processes import is_first, joined, once
from detassign.engine.resolving import on_data
from detassign.engine.train import measured
from detassign.evidence.evaluation.analysis import Analysis, analyse

if TYPE_CHECKING:
    from detassign.data.table import Table

__all__ = ["Evaluation", "evaluate"]

DETECTIONS = 100  # of an image that count where no run says it: COCO's rule
Report = str | Path | bool | None


@dataclass(frozen=True)
class Evaluation:
    """How well a checkpoint detects, or somebody's detections are.

    Attributes:
        metrics: AP and its kin as shares of 1, NaN without objects of a size, and under "classes" AP by class name.
        name, split: of the run, or of the file of detections, and of what it was measured on.
        checkpoint: which it was, and why; None of a file of detections.
        max_detections: of an image and class that count.
        folder: of the report; None without one.
        analysis: what the report tells: thresholds, confusions, kinds of errors; None without one.
    """

    metrics: dict[str, Any]
    name: str
    split: str
    checkpoint: Chosen | None
    max_detections: int
    folder: Path | None = None
    analysis: Analysis | None = None


def evaluate(
    run: str | Path | None = None,
    *,
    checkpoint: str | None = None,
    split: Literal["val", "train", "test"] | str = "val",
    data: str | Path | None = None,
    data_root: str | Path | None = None,
    images: int | None = None,
    detections: str | Path | None = None,
    limit: int | None = None,
    report: Report = None,
    device: str | None = None,
    imports: Iterable[str] = (),
    trust: bool = False,
) -> Evaluation:
    """Measure a trained run on its own data, or on other data of the same classes, as `detassign test` does.

    Args:
        run: its folder, or a checkpoint in it.
        checkpoint: of a folder: "best", "last" or a file; the best if left out.
        split: "val", "train" or "test".
        data, data_root, images: the data set, where it is not the run's own or lies elsewhere now.
        detections: a file in the form of COCO's results that is measured against `data` in the place of a run.
        limit: at most so many detections of an image and class count; what the run says, or 100, if left out.
        report: the folder of a report; True takes RUN/eval-SPLIT, None writes nothing. A report that is there is replaced.
        device: "auto", "cpu" or "cuda[:index]"; the run's if left out.
        imports: files and modules that bring parts of the model, in the place of those that the run brings.
        trust: run the code that comes with a run made elsewhere.

    Raises:
        ValueError, OSError: for what is no run, for data that is not there, faulty or of other classes, for detections of
            other images, and for a report's folder that holds anything else.
    """
    if (run is None) == (detections is None):
        raise ValueError("run: name one, or detections with data; one of the two")
    if limit is not None and limit < 1:
        raise ValueError(f"limit: expected a whole number of at least 1, got {limit}")
    data = None if data is None else str(data)
    place = (data, None if data_root is None else Path(data_root), images)
    if detections is not None:
        others = {"checkpoint": checkpoint, "device": device, "imports": imports, "trust": trust}
        if given := [name for name, value in others.items() if value]:
            raise ValueError(f"{given[0]}: belongs to a run, and detections need none")
        return _of_file(Path(detections), split, *place, limit, report)
    with joined():
        config, chosen = find_model(Path(str(run)), checkpoint, trust, load_named(imports))
        return _of_run(Path(str(run)), config, chosen, split, lambda: on_data(config, *place), limit, report, device)


def _of_run(
    run: Path,
    config: Mapping[str, Any],
    chosen: Chosen,
    split: str,
    moved: Callable[[], dict[str, Any]],
    limit: int | None,
    report: Report,
    device: str | None,
) -> Evaluation:
    """What a run's checkpoint detects; only the first process of a job reports."""
    own = config["data"]
    config = once(moved)
    if device:
        config["device"] = device
    if limit:
        config["evaluation"]["max_detections"] = limit
    source = find_source(config, [split])
    once(lambda: checked(source, [split]))
    of = "" if source.name == own["name"] else f"{source.name}-"
    usual = (run if run.is_dir() else run.parent) / slug(f"eval-{of}{split}")
    folder = once(lambda: _place(report, lambda: usual))
    metrics, metric = measured(config, chosen.path, split, own["classes"], thorough=folder is not None)
    found = Evaluation(metrics, config["name"], split, chosen, config["evaluation"]["max_detections"])
    if folder is None or not is_first() or metric.evaluation is None:
        return found
    facts = {"data": source.name, "split": split, "checkpoint": str(chosen)}
    return _reported(found, folder, facts, source, metric.truth, metric.detections, metric.evaluation)


def _of_file(
    file: Path,
    split: str,
    data: str | None,
    data_root: Path | None,
    images: int | None,
    limit: int | None,
    report: Report,
) -> Evaluation:
    """What a file says was detected."""
    if data is None and data_root is None:
        raise ValueError("detections: need data, the set that they are of")
    source = find_data(data or "coco", data_root, images)
    checked(source, [split])
    truth, count = load_split(source, split), limit or DETECTIONS
    folder = _place(report, lambda: new_run_folder(f"eval-{file.stem}-{split}"))
    entries = read_detections(file, truth)
    evaluated = measuring.evaluated(truth, Detected.read(entries, truth.classes), count)
    found = Evaluation(measuring.metrics_of(evaluated.accuracy, source.classes), file.name, split, None, count)
    if folder is None:
        return found
    facts = {"data": source.name, "split": split, "detections of": file.name}
    return _reported(found, folder, facts, source, truth, entries, evaluated)


def _reported(
    found: Evaluation,
    folder: Path,
    facts: Mapping[str, str],
    source: DataSource,
    truth: Table,
    detections: list[dict[str, Any]],
    evaluated: measuring.Evaluation,
) -> Evaluation:
    """The same with its report, which is written."""
    analysis = analyse(evaluated.matching, evaluated.accuracy)
    title = f"{found.name} on {source.name}, {found.split}"
    write_report(folder, title, facts, analysis, truth, source.place(found.split).images, detections)
    return Evaluation(found.metrics, found.name, found.split, found.checkpoint, found.max_detections, folder, analysis)


def _place(report: Report, usual: Callable[[], Path]) -> Path | None:
    """The report's folder, before there is a report; None where nobody asks for one, or a run cannot be written to."""
    if report is None or report is False:
        return None
    if report is not True:
        return report_folder(Path(report))
    try:
        return report_folder(usual())
    except FileExistsError as error:
        hint = "leave the report out with --no-report, or name its folder with --out"
        raise FileExistsError(f"{error}; or {hint}") from None
    except PermissionError as error:
        note(f"no report: {error}; name its folder with --out")
        return None

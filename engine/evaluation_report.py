"""The report of an evaluation in a folder of its own: numbers, detections, a page and pictures."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..data.files import json_text, new_folder, read_json, written_aside
from ..data.pictures import silent_decoder
from ..data.table import Table
from ..evidence.drawing.confusion import draw_confusion
from ..evidence.drawing.mistakes import Mistakes, draw_mistakes
from ..evidence.evaluation.analysis import Analysis, document
from ..evidence.report import evaluation_views as views
from ..evidence.report.evaluation_page import Worst, page
from ..evidence.report.figures import pictures
from .files import naming
from .prediction.reading import check_header

__all__ = ["DETECTIONS", "METRICS", "PAGE", "report_folder", "write_report"]

METRICS, DETECTIONS, PAGE, WORST = "metrics.json", "detections.json", "report.html", "worst"
CHARTS = ("precision_recall", "precision_recall_classes", "scores", "scores_classes", "errors", "classes", "confusion")
OWN = {METRICS, DETECTIONS, PAGE, WORST, *(f"{name}.png" for name in CHARTS)}  # what a report's folder may hold
WRITTEN_BY = "detassign test"  # under "written_by" in METRICS: how a report is known
LARGEST_METRICS = 2**26  # bytes; with 1000 classes there are ten million
MOST_WORST = 20  # images that are drawn
LONGEST_NAME = 60  # letters of an image's name in that of its drawing: four bytes each fit every file system
KEYS = ("image_id", "category_id", "bbox", "score")  # of a detection; pycocotools adds others


def report_folder(folder: Path) -> Path:
    """The folder, if a report may be written to it: an absent or empty one, or one that holds a report and nothing else.

    Raises:
        FileExistsError: for a folder that holds anything else, and for a file.
        PermissionError: where nothing can be written.
    """
    if not (folder.is_dir() and _is_report(folder)):
        new_folder(folder)
    beside = next(place for place in folder.absolute().parents if place.is_dir())
    if not os.access(beside, os.W_OK):
        raise PermissionError(f"{folder}: nothing can be written into {beside}")
    return folder


def write_report(
    folder: Path,
    title: str,
    facts: Mapping[str, str],
    analysis: Analysis,
    truth: Table,
    images: Path,
    detections: Sequence[Mapping[str, Any]],
) -> None:
    """Write METRICS, DETECTIONS, PAGE, and PNGs of the charts and the worst images; replaces a report that is there.

    Args:
        folder: as `report_folder` lets it pass.
        title, facts: what the page says of where the numbers come from; METRICS holds the facts as well.
        analysis: what there is to tell.
        truth: of the same images.
        images: the folder of their files.
        detections: COCO result entries, all of them.
    """
    with naming(folder), written_aside(folder) as fresh:
        found = analysis.worst[:MOST_WORST]
        files = [truth.file_names[one.index] for one in found]
        names = [f"{place:02d}-{Path(file).stem[:LONGEST_NAME]}.png" for place, file in enumerate(files, 1)]
        (fresh / WORST).mkdir()
        worst = [
            Worst(file, one, _drawn(images / file, analysis, one.index, truth, fresh / WORST / name))
            for one, file, name in zip(found, files, names, strict=True)
        ]
        numbers = {"written_by": WRITTEN_BY, "title": title, **facts, **document(analysis)}
        numbers["worst"] = [{"file": file, **one._asdict()} for one, file in zip(found, files, strict=True)]
        contents = {
            METRICS: json_text(numbers, indent=1).encode(),
            DETECTIONS: _listed(detections),
            PAGE: page(title, facts, analysis, worst).encode(errors="backslashreplace"),
            **_charts(analysis),
        }
        for name, content in contents.items():
            (fresh / name).write_bytes(content)


def _charts(analysis: Analysis) -> dict[str, bytes]:
    """PNGs by the names of their files."""
    drawn = pictures({**views.panels(analysis), **views.charts(analysis)})
    drawn["confusion"] = draw_confusion(analysis.confusion, views.names(analysis))
    return {f"{name}.png": drawn[name] for name in CHARTS if name in drawn}


def _listed(detections: Sequence[Mapping[str, Any]]) -> bytes:
    """A JSON list, a line for each."""
    lines = (json_text({key: one[key] for key in KEYS}) for one in detections)
    return ("[" + ",\n".join(lines) + "]\n").encode()


def _drawn(file: Path, analysis: Analysis, index: int, truth: Table, place: Path) -> Mistakes | None:
    """An image's truth and detections, saved beside each other; None when it cannot be read."""
    pixels = _read(file)
    if pixels is None:
        return None
    drawn = draw_mistakes(pixels, analysis, index, truth)
    drawn.beside_each_other().save(place, format="PNG", compress_level=1)
    return drawn


def _read(file: Path) -> np.ndarray | None:
    """(H, W, 3) uint8 in BGR as the detector saw it."""
    with silent_decoder(), suppress(ValueError, OSError, cv2.error):
        check_header(file)
        return cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_COLOR)
    return None


def _is_report(folder: Path) -> bool:
    """Whether all that a folder holds is what a report is made of, and its numbers say that it is one."""
    held = {entry.name for entry in folder.iterdir()}
    drawn = [entry.name for entry in (folder / WORST).iterdir()] if (folder / WORST).is_dir() else []
    if METRICS not in held or held - OWN or not all(re.fullmatch(r"\d\d-.*\.png", name) for name in drawn):
        return False
    with suppress(ValueError, OSError):
        numbers = read_json(folder / METRICS, LARGEST_METRICS)
        return isinstance(numbers, dict) and numbers.get("written_by") == WRITTEN_BY
    return False

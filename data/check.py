"""Check a COCO data set before training: every fault one sentence, nothing raised, nothing changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from .coco import SPLITS, DataSource
from .files import LARGEST_JSON
from .pictures import Progress, check_pictures
from .reader import read_annotations
from .report import Finding, Report, finding
from .statistics import split_statistics
from .table import Table

__all__ = ["check"]


class _Split(NamedTuple):
    """The files of one split."""

    name: str
    annotations: Path
    images: Path


def check(
    source: str | Path | DataSource,
    *,
    headers: int = 200,
    largest: int = LARGEST_JSON,
    splits: Sequence[str] = SPLITS,
    decode: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Check a data source, a folder with train.json, val.json and images/, or a single annotation file.

    The images of a single file are expected in images/ beside it. Every listed image must be there; of `headers`
    images per split, spread evenly, the header is read and the size compared (0: none). With `decode` every image is
    read to its end. Annotation files of more than `largest` bytes are not read. Whatever is wrong with the data
    becomes a `Finding`; those about annotations are what training and evaluation go by.

    splits: of these alone; progress: called with (images done, images in all) of a split.
    """
    if isinstance(headers, bool) or not isinstance(headers, int) or headers < 0:
        raise ValueError(f"headers must be a whole number of at least 0, got {headers!r}")
    name, files = _splits(source)
    if not isinstance(source, DataSource) and not Path(source).exists():
        return Report(name, (Finding("error", "missing-file", str(source), "there is no such file or folder"),))
    findings, tables = [], {}
    for split in files:
        if len(files) > 1 and split.name not in splits:
            continue
        table, found = read_annotations(split.annotations, largest)
        findings += found
        if table is not None:
            tables[split] = table
            findings += check_pictures(table, split.images, headers, decode, progress)
    findings += _compare_splits(tables)
    return Report(name, tuple(findings), {split.name: split_statistics(table) for split, table in tables.items()})


def _splits(source: str | Path | DataSource) -> tuple[str, list[_Split]]:
    if isinstance(source, DataSource):
        train = _Split("train", source.train_annotations, source.train_images)
        return source.name, [train, _Split("val", source.val_annotations, source.val_images)]
    path = Path(source)
    if path.suffix == ".json" and not path.is_dir():
        return path.name, [_Split(path.stem, path, path.parent / "images")]
    return path.resolve().name, [_Split(split, path / f"{split}.json", path / "images") for split in SPLITS]


def _compare_splits(tables: dict[_Split, Table]) -> Iterator[Finding]:
    """Train and val must have the same categories and should not share images."""
    if len(tables) < 2:
        return
    (train_files, train), (val_files, val) = tables.items()
    if train.classes != val.classes:
        text = f"the categories differ from those of {train.where}"
        yield Finding("error", "different-categories", val.where, text)
    if train_files.images == val_files.images:
        shared = sorted(set(train.file_names) & set(val.file_names))
        text = f"images also occur in {train.where}, so the AP will flatter"
        yield from finding("warning", "shared-images", val.where, text, [repr(name) for name in shared])

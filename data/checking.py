"""Check a data set before training: every fault one sentence, nothing raised, nothing changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path

from .files import LARGEST_JSON
from .forms import SPLITS, Place, find
from .pictures import Progress, check_pictures
from .reader import read_annotations
from .report import Finding, Report, finding
from .sources import NEEDED, DataSource, Located, missing_split
from .statistics import split_statistics
from .table import Table

__all__ = ["check"]


def check(
    source: str | Path | DataSource | Located,
    *,
    headers: int = 200,
    largest: int = LARGEST_JSON,
    splits: Sequence[str] = SPLITS,
    decode: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Check a data source, a folder in a form that is known, or a single COCO annotation file.

    Every listed image must be there; of `headers`
    images per split, spread evenly, the header is read and the size compared (0: none). With `decode` every image is
    read to its end. Annotation files of more than `largest` bytes are not read. Whatever is wrong with the data
    becomes a `Finding`; those about annotations are what training and evaluation go by.

    splits: of these alone, where they are there; progress: called with (images done, images in all) of a split.
    """
    if isinstance(headers, bool) or not isinstance(headers, int) or headers < 0:
        raise ValueError(f"headers must be a whole number of at least 0, got {headers!r}")
    try:
        name, places = _places(source)
    except (OSError, ValueError) as error:
        code = "missing-file" if isinstance(error, FileNotFoundError) else "no-data-set"
        return Report(Path(source).resolve().name, (Finding("error", code, str(source), str(error)),))
    findings, tables = [], {}
    for split, place in places.items():
        if len(places) > 1 and split not in splits:
            continue
        table, found = read_annotations(place, largest)
        findings += found
        if table is not None:
            tables[split] = table
            findings += check_pictures(table, place.images, headers, decode, progress)
    findings += [*_missing(name, places), *_compared(places, tables)]
    return Report(name, tuple(findings), {split: split_statistics(table) for split, table in tables.items()})


def _places(source: str | Path | DataSource | Located) -> Located:
    if isinstance(source, Located):
        return source
    if isinstance(source, DataSource):
        return Located(source.name, {split: source.place(split) for split in source.splits})
    path = Path(source)
    if not path.exists():
        raise FileNotFoundError("there is no such file or folder")
    places = find(path)
    if path.is_file() and path.suffix == ".json":
        return Located(path.name, {path.stem: places["train"]})
    return Located(path.resolve().name, places)


def _missing(name: str, places: Mapping[str, Place]) -> Iterator[Finding]:
    """Splits without which nothing can be trained; a single file is asked for none."""
    for split in NEEDED:
        if split not in places and set(places) <= set(SPLITS) and not name.endswith(".json"):
            yield Finding("error", "missing-split", name, f"the data set {missing_split(split, places)}")


def _compared(places: Mapping[str, Place], tables: Mapping[str, Table]) -> Iterator[Finding]:
    """Splits must have the same categories and should not share images."""
    for first, second in combinations(tables, 2):
        one, other = tables[first], tables[second]
        if one.classes != other.classes and first == next(iter(tables)):
            text = f"the categories differ from those of {one.where}"
            yield Finding("error", "different-categories", other.where, text)
        if places[first].images == places[second].images:
            shared = sorted(set(one.file_names) & set(other.file_names))
            text = f"images also occur in {one.where}, so the AP will flatter"
            yield from finding("warning", "shared-images", other.where, text, [repr(name) for name in shared])

"""What may be wrong with a COCO annotation file: one function per rule, each ``(Table) -> list[Finding]``.

The severities follow what mmdet's loader and COCO's evaluation do with such data.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePosixPath, PureWindowsPath

import numpy as np

from .report import Finding, finding
from .table import Table

__all__ = ["RULES", "is_inside_folder"]

_EVALUATED = 100  # detections per image that COCO's evaluation looks at


def is_inside_folder(file_name: str) -> bool:
    """Whether a file name, joined to a folder, stays inside it on every system."""
    for path in (PurePosixPath(file_name), PureWindowsPath(file_name)):
        if path.anchor or ".." in path.parts:
            return False
    return "\0" not in file_name


def something_to_learn(table: Table) -> list[Finding]:
    """Images and usable boxes that are no crowd regions exist at all."""
    if not len(table.image_ids):
        return [Finding("error", "no-images", table.where, "the file lists no usable image")]
    if table.objects.any():
        return []
    if table.usable.any():
        text = (
            "there is nothing to learn: every usable annotation is a crowd region ('iscrowd' or 'ignore' is 1), "
            "as some tools write for masks; set it to 0 where they are objects"
        )
        return [Finding("error", "only-crowd-regions", table.where, text)]
    small = table.measurable & (table.owners >= 0) & (np.abs(table.boxes) <= 1).all(1)
    hint = "; all boxes lie between 0 and 1, and pixels are expected" if len(small) and small.all() else ""
    return [Finding("error", "no-annotations", table.where, f"the file holds no usable annotation{hint}")]


def unique_ids(table: Table) -> list[Finding]:
    """No two images share an id; annotations may, since they are numbered anew when loaded."""
    images = [f"image id {value}" for value in _repeated(table.image_ids)]
    odd = (table.ids == 0) | np.isin(table.ids, _repeated(table.ids))
    text = "annotation ids are missing, 0 or repeated; annotations are numbered anew, for nothing depends on their ids"
    return [
        *finding("error", "duplicate-image-id", table.where, "images share an id", images),
        *finding("info", "annotation-ids", table.where, text, table.names(odd)),
    ]


def known_references(table: Table) -> list[Finding]:
    """Every annotation belongs to a listed image and a listed category."""
    image = "annotations belong to an image that is not listed"
    category = "annotations have a category_id that is not listed"
    return [
        *finding("error", "unknown-image", table.where, image, table.names(table.owners < 0)),
        *finding("error", "unknown-category", table.where, category, table.names(table.labels < 0)),
    ]


def sound_boxes(table: Table) -> list[Finding]:
    """Boxes are finite, of some size, and inside their image."""
    out = "and are left out of training and evaluation"
    cut = "boxes reach beyond their image and are cut to it in training and evaluation"
    cases = (
        ("error", "non-finite-box", "boxes are not finite, or absurdly large", ~table.measurable),
        ("warning", "empty-box", f"boxes have no width or height {out}", table.empty),
        ("warning", "thin-box", f"boxes are thinner than a pixel {out}", table.thin),
        ("warning", "box-beyond-image", f"boxes lie beyond their image {out}", table.beyond),
        ("warning", "box-crosses-border", cut, table.crossing & ~table.thin),
    )
    return [f for level, code, text, mask in cases for f in finding(level, code, table.where, text, table.names(mask))]


def sizes_not_corners(table: Table) -> list[Finding]:
    """Boxes are x, y, width, height: most of a set that holds corners instead reach beyond their images."""
    sizes = np.vstack([table.image_sizes, [0, 0]])[table.owners]
    corners = (table.boxes[:, 2:] > table.boxes[:, :2]).all(1) & (table.boxes[:, 2:] <= sizes).all(1)
    if not corners.any() or not corners.all() or 2 * (table.crossing | table.beyond).sum() < len(corners):
        return []
    text = "boxes look like corners x1, y1, x2, y2, and x, y, width, height are expected"
    return [Finding("warning", "corner-boxes", table.where, text)]


def no_doubled_boxes(table: Table) -> list[Finding]:
    """No object is annotated twice with the same box and class."""
    rows = np.column_stack([table.owners, table.labels, table.boxes])
    _, first, inverse = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    doubled = first[inverse.ravel()] != np.arange(len(rows))
    text = "boxes repeat another one of the same class exactly"
    return finding("warning", "doubled-box", table.where, text, table.names(doubled & table.usable))


def safe_file_names(table: Table) -> list[Finding]:
    """File names stay inside the folder of images and name different files."""
    leaving = [repr(name) for name in table.file_names if not is_inside_folder(name)]
    seen, repeated = set(), []
    for name in table.file_names:
        if name in seen:
            repeated.append(repr(name))
        seen.add(name)
    return [
        *finding("error", "unsafe-file-name", table.where, "file names leave the folder of images", leaving),
        *finding("warning", "repeated-file", table.where, "images share a file", repeated),
    ]


def category_ids(table: Table) -> list[Finding]:
    """Remarks about ids with gaps, and classes without a box."""
    ids = list(table.classes)
    gaps = ids != list(range(1, len(ids) + 1))
    text = f"category ids run from {ids[0]} to {ids[-1]} for {len(ids)} classes; labels are their ranks"
    counts = np.bincount(table.labels[table.objects], minlength=len(ids))
    unseen = [repr(name) for name, count in zip(table.classes.values(), counts, strict=True) if not count]
    return [
        *([Finding("info", "category-id-gaps", table.where, text)] if gaps else []),
        *finding("info", "class-without-boxes", table.where, "classes have no box", unseen),
    ]


def crowded_images(table: Table) -> list[Finding]:
    """Remarks about crowd regions and images with more objects than COCO's evaluation looks at."""
    counts = np.bincount(table.owners[table.objects], minlength=len(table.image_ids))
    over = [repr(table.file_names[index]) for index in np.flatnonzero(counts > _EVALUATED)]
    text = f"images hold more than {_EVALUATED} objects, of which COCO's evaluation stops at {_EVALUATED} detections"
    text_of_crowd = "crowd regions ('iscrowd' or 'ignore' is 1) are neither learnt nor counted as misses"
    return [
        *finding("info", "many-objects", table.where, text, over),
        *finding("info", "crowd-regions", table.where, text_of_crowd, table.names(table.crowd)),
    ]


RULES: tuple[Callable[[Table], list[Finding]], ...] = (
    something_to_learn,
    unique_ids,
    known_references,
    sound_boxes,
    sizes_not_corners,
    no_doubled_boxes,
    safe_file_names,
    category_ids,
    crowded_images,
)


def _repeated(values: np.ndarray) -> list[int]:
    unique, counts = np.unique(values, return_counts=True)
    return unique[counts > 1].tolist()

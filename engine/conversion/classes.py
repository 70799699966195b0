"""Which row of a checkpoint's class layers belongs to which class of the target.

COCO has 80 classes, whose ids run to 90 with gaps. The papers' code takes the id as index, so its layers have 91 rows of
which 0 and ten more stand for nothing; mmdet and this project number the 80 classes without gaps, in the order of their ids.
"""

from __future__ import annotations

from collections.abc import Sequence

from mmdet.datasets import CocoDataset

COCO_CLASSES: tuple[str, ...] = tuple(CocoDataset.METAINFO["classes"])
UNUSED_IDS = frozenset({0, 12, 26, 29, 30, 45, 66, 68, 69, 71, 83})
COCO_IDS = tuple(index for index in range(91) if index not in UNUSED_IDS)
NAMES_BY_ID = {**dict.fromkeys(UNUSED_IDS), **dict(zip(COCO_IDS, COCO_CLASSES, strict=True))}
COCO_ROWS: tuple[str | None, ...] = tuple(NAMES_BY_ID[index] for index in range(91))


def unnamed(count: int) -> tuple[str, ...]:
    """What classes are called whose names are not known.

    >>> unnamed(2)
    ('class 1', 'class 2')
    """
    return tuple(f"class {number}" for number in range(1, count + 1))


def is_unnamed(classes: Sequence[str]) -> bool:
    """Whether the names say nothing."""
    return tuple(classes) == unnamed(len(classes))


def names_of_rows(
    rows: int, stated: Sequence[str] | None, classes: Sequence[str], may_be_new: bool = False
) -> tuple[str | None, ...] | None:
    """Class names of a checkpoint's rows: what it states itself, else COCO's where it has 91 or 80; else None.

    None too for as many classes of the target, none of them COCO's, that may not be new: they are the checkpoint's own.
    """
    if stated is not None and len(stated) == rows:
        return tuple(stated)
    if rows == len(classes) and not may_be_new and not set(classes) & set(COCO_CLASSES):
        return None
    return {91: COCO_ROWS, 80: COCO_CLASSES}.get(rows)


def has_background(rows: int, stated: Sequence[str] | None, labels: int | None, softmax: bool) -> bool | None:
    """Whether the last row of a checkpoint's class layer stands for no object; None where nothing tells.

    Args:
        rows: of the class layer.
        stated: names of the checkpoint's classes.
        labels: rows of its table of denoising labels, which has one more than classes.
        softmax: it is of a family that always has a background row.
    """
    known = [len(stated)] if stated is not None else []
    known += [labels - 1] if labels is not None else []
    for classes in known:
        if rows - classes in (0, 1):
            return rows > classes
    if softmax:
        return True
    return {92: True, 81: True, 91: False, 80: False}.get(rows)


def choose_rows(
    rows: int, names: Sequence[str | None] | None, classes: Sequence[str], may_be_new: bool = False
) -> tuple[int | None, ...]:
    """The checkpoint's row for each class of the target; None where the class is new.

    Args:
        rows: classes of the checkpoint.
        names: of those rows, None for rows that stand for nothing; or None where names are not known.
        classes: of the target.
        may_be_new: classes that the checkpoint does not know are allowed.

    Raises:
        ValueError: when a class has no row and may not be new.

    >>> choose_rows(3, ("cat", None, "dog"), ("dog", "cat"))
    (2, 0)
    >>> choose_rows(3, ("cat", None, "dog"), ("dog", "newt"), may_be_new=True)
    (2, None)
    """
    if names is None and not may_be_new:
        if len(classes) == rows:
            return tuple(range(rows))
        raise ValueError(
            f"classes: the checkpoint has {rows} without names, the target {len(classes)}; "
            f"to begin anew with them give --finetune-classes {len(classes)}"
        )
    found = {name: row for row, name in enumerate(names or ()) if name is not None}
    unknown = [name for name in classes if name not in found]
    if unknown and not may_be_new:
        raise ValueError(
            f"classes: {len(unknown)} of the target's {len(classes)} are not among the checkpoint's, such as "
            f"{unknown[0]!r}; to begin anew with those give --finetune-classes {len(classes)}"
        )
    return tuple(found.get(name) for name in classes)

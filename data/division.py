"""Dividing pictures among train, val and test: every class in its share, and what belongs together kept together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np

from .parts import Part

__all__ = ["divide", "divided", "groups_of"]

_FRAME = re.compile(r"[ _.-]*\d*$")  # the number of a frame
_EXPORTED = re.compile(r"\.rf\.[0-9a-zA-Z]+$")  # Roboflow's mark of each augmented copy


def divided(part: Part, val: float, test: float = 0.0, group_by: str | None = None, seed: int = 0) -> dict[str, Part]:
    """A set as train, val and, if `test` is above 0, test; every picture keeps its place in the order.

    Args:
        part: all of it.
        val, test: shares of the pictures.
        group_by: as of `groups_of`; None has every picture go its own way.
        seed: of the choice among equals.

    Raises:
        ValueError: for shares that leave a split without pictures.
    """
    if not 0 < val < 1 or not 0 <= test < 1 or val + test >= 1:
        raise ValueError(f"val and test must be shares that leave something to train on, got {val:g} and {test:g}")
    table = part.table
    groups = np.unique(groups_of(part.names, group_by), return_inverse=True)[1].ravel()
    counts = np.zeros((groups.max() + 1, 1 + len(table.classes)))
    np.add.at(counts[:, 0], groups, 1)
    np.add.at(counts[:, 1:], (groups[table.owners], table.labels), 1)
    shares = {"train": 1 - val - test, "val": val, "test": test}
    wanted = {split: share for split, share in shares.items() if share > 0}
    choice = divide(counts, np.array(list(wanted.values())), np.random.default_rng(seed))[groups]
    empty = [split for place, split in enumerate(wanted) if not (choice == place).any()]
    if empty:
        raise ValueError(f"{len(counts)} groups of pictures are too few: nothing is left for {empty[0]}")
    return {split: _chosen(part, np.flatnonzero(choice == place).tolist()) for place, split in enumerate(wanted)}


def groups_of(names: Sequence[str], group_by: str | None) -> list[str]:
    """What each picture belongs to.

    Args:
        names: of the pictures, with folders.
        group_by: "folder"; "prefix", the name without the number at its end (of a frame) and without Roboflow's mark of
            augmented copies; or a regular expression, of which the first group counts, or all that matches.

    >>> groups_of(["a/clip_1.jpg", "a/clip_2.jpg", "b/c.rf.0f3.jpg"], "prefix")
    ['a/clip', 'a/clip', 'b/c']
    """
    paths = [PurePosixPath(name) for name in names]
    if group_by is None:
        return list(map(str, paths))
    if group_by == "folder":
        return [str(path.parent) for path in paths]
    if group_by == "prefix":
        return [str(path.with_name(_prefix(path.stem))) for path in paths]
    try:
        found = [re.search(group_by, str(path)) for path in paths]
    except re.error as error:
        raise ValueError(f"group_by: {group_by!r} is no folder, prefix or regular expression: {error}") from None
    unmatched = next((name for name, match in zip(names, found, strict=True) if not match), None)
    if unmatched is not None:
        raise ValueError(
            f"group_by: {group_by!r} is neither 'folder' nor 'prefix', and as an expression not in {unmatched!r}"
        )
    return [(match[1] if match.re.groups else match[0]) or "" for match in found]


def divide(counts: np.ndarray, shares: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Give each of G groups to one of S splits so that every column comes near its shares.

    The groups that weigh most, by the share of a column that they hold, are placed first, each where the squared distance
    from what is wanted, over what is wanted, grows least; so rare classes are shared out while there is room.

    counts: (G, K) pictures and objects of each class; shares: (S,), of 1. Returns (G,) places of splits.
    """
    parts = counts / np.maximum(counts.sum(0), 1)  # (G, K)
    order = rng.permutation(len(parts))
    order = order[np.argsort(-parts[order].max(1), kind="stable")]
    missing = shares[:, None] * (counts.sum(0) > 0)  # (S, K)
    choice = np.zeros(len(parts), int)
    for group in order:
        growth = (parts[group] * (parts[group] - 2 * missing)).sum(1) / shares
        choice[group] = growth.argmin()
        missing[choice[group]] -= parts[group]
    return choice


def _prefix(stem: str) -> str:
    plain = _EXPORTED.sub("", stem)
    return _FRAME.sub("", plain) or plain


def _chosen(part: Part, places: list[int]) -> Part:
    images = [part.content["images"][place] for place in places]
    ids = {image["id"] for image in images}
    annotations = [entry for entry in part.content["annotations"] if entry["image_id"] in ids]
    content = {**part.content, "images": images, "annotations": annotations}
    return Part(content, [part.files[place] for place in places], [part.names[place] for place in places])

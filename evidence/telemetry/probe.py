"""A few images followed through a training: what their objects are learnt by after every epoch, and how that changes.

Training images are cropped, flipped and scaled anew each time, and which sample is which then means nothing. So a fixed few
of them are looked at after every epoch as evaluation would see them, one by one, without augmentation, denoising, dropout and
gradient, and the training's assigner says who would learn what. Stability is then of the assignment alone: same image, same
objects, same samples; only the weights have moved, and the assigner with its progress.

Queries are known by their number. Where queries are the encoder's best tokens (two-stage detectors, DINO), the number is a
rank, so a query that only changes its rank counts as another one: DN-DETR's definition, to the letter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from scipy import stats

from .history import COLUMNS, History
from .learnt import Learnt, between_layers, instability, moved, moved_between_layers
from .sizes import SIZES
from .tally import layer_names

__all__ = ["Probe"]


class Probe:
    """The history of a few images.

    Args:
        images: as in `history`.
        classes: names by label.
        levels: names of a pyramid's levels; empty for queries.
    """

    def __init__(self, images: Sequence[Mapping[str, Any]], classes: Sequence[str], levels: Sequence[str]) -> None:
        self.images, self.classes, self.levels = list(images), list(classes), list(levels)
        self.sizes = np.array(
            [SIZES.index(one["size"]) for image in images for one in image["objects"]], dtype=np.int64
        )
        self.epochs: list[int] = []
        self.columns: dict[str, list[np.ndarray]] = {name: [] for name in COLUMNS}
        self.last: list[Learnt] = []

    def add(self, epoch: int, found: Sequence[Learnt]) -> dict[str, Any]:
        """Take what was found after an epoch, of every image in order.

        Returns:
            What it says, in plain values; None where there is nothing to compare or to divide by.
        """
        before = self.last if _comparable(self.last, found) else None
        pairs = None if before is None else list(zip(before, found, strict=True))
        changed = None if pairs is None else np.concatenate([moved(*pair) for pair in pairs], 1)  # (G, K objects)
        row = _columns(found) | {
            "moved": np.full(len(self.sizes), np.nan) if changed is None else changed[found[0].final]
        }
        row["without"] = np.where(row["samples"] > 0, 0, 1 + (self.columns["without"][-1] if self.epochs else 0))
        self.epochs.append(epoch)
        for name, values in row.items():
            self.columns[name].append(np.asarray(values, dtype=np.float64))
        self.last = list(found)
        compared = {} if pairs is None else _since(pairs, changed, self.sizes)
        return {**self._now(row, found), **compared}

    def _now(self, row: Mapping[str, np.ndarray], found: Sequence[Learnt]) -> dict[str, Any]:
        none = row["without"] > 0
        return {
            "images": len(found),
            "objects_by_size": dict(zip(SIZES, self.objects_by_size(), strict=True)),
            "samples_by_size": _by_size(self.sizes, row["samples"]),
            "without_by_size": _by_size(self.sizes, none),
            "longest_without_by_size": _by_size(self.sizes, row["without"], np.max),
            "spearman": _spearman(found),
            **_layers(found),
        }

    def objects_by_size(self) -> list[int]:
        """How many objects of each size are followed."""
        return np.bincount(self.sizes, minlength=len(SIZES)).tolist()

    def stay_without(self, looks: int, ago: int = 0) -> list[int]:
        """How many objects of each size no sample learnt at so many looks in a row; `ago` looks before the last one."""
        if len(self.epochs) <= ago:
            return [0] * len(SIZES)
        long = self.columns["without"][-1 - ago] >= looks
        return np.bincount(self.sizes[long], minlength=len(SIZES)).tolist()

    def history(self) -> History:
        """All so far, for people and files."""
        columns = {name: [look.tolist() for look in looks] for name, looks in self.columns.items()}
        for name in ("samples", "without", "best", "level"):
            columns[name] = [list(map(int, look)) for look in columns[name]]
        return History(self.classes, self.levels, self.images, self.epochs, columns)

    def state(self) -> dict[str, Any]:
        """What a resumed run needs, in plain values and tensors."""
        looks = {name: torch.tensor(np.array(looks)) for name, looks in self.columns.items()}
        return {
            "images": [dict(image) for image in self.images],
            "epochs": list(self.epochs),
            "columns": looks,
            "last": [image.to_tensors() for image in self.last],
        }

    def load(self, state: Mapping[str, Any]) -> bool:
        """Go on from a state; False, and nothing taken, where it is of other images or objects."""
        if state.get("images") != self.images:
            return False
        self.epochs = list(state["epochs"])
        self.columns = {name: list(state["columns"][name].numpy()) for name in COLUMNS}
        self.last = [Learnt.from_tensors(image) for image in state["last"]]
        return True


def _comparable(before: Sequence[Learnt], found: Sequence[Learnt]) -> bool:
    """Whether the same objects had the same samples to choose from."""
    shapes = [[(one.layers, one.samples, one.objects) for one in each] for each in (before, found)]
    return shapes[0] == shapes[1]


def _columns(found: Sequence[Learnt]) -> dict[str, np.ndarray]:
    """Of every object of all images, what the detecting layer's pairs are."""
    rows = [_of_image(image) for image in found]
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


def _of_image(image: Learnt) -> dict[str, np.ndarray]:
    final, count = image.in_final(), image.objects
    best = np.full(count, -1)
    order = np.argsort(image.weight[final], kind="stable")[::-1]
    heaviest, first = np.unique(image.target[final][order], return_index=True)
    best[heaviest] = order[first]
    has = best >= 0

    def of_best(values: np.ndarray, without: float) -> np.ndarray:
        return np.where(has, values[final][best], without) if final.any() else np.full(count, without)

    return {
        "samples": image.per_object(np.ones(len(final)))[image.final],
        "weight": image.per_object(image.weight)[image.final],
        "best": of_best(image.sample, -1),
        "level": of_best(image.level, 0),
        "score": of_best(image.score, np.nan),
        "iou": of_best(image.iou, np.nan),
    }


def _since(pairs: Sequence[tuple[Learnt, Learnt]], changed: np.ndarray, sizes: np.ndarray) -> dict[str, Any]:
    """What has changed since the look before."""
    now = pairs[0][1]
    of_layers = np.mean([instability(*pair) for pair in pairs], 0)
    found = {
        "instability": float(of_layers[now.final]),
        "moved": _mean(changed[now.final]),
        "moved_by_size": _by_size(sizes, changed[now.final]),
    }
    if now.layers == 1:
        return found
    names = layer_names(now.final + 1, now.layers)
    by_layer = {"instability": of_layers.tolist(), "moved": map(_mean, changed)}
    return found | {f"{name}_by_layer": dict(zip(names, values, strict=True)) for name, values in by_layer.items()}


def _layers(found: Sequence[Learnt]) -> dict[str, Any]:
    """How much a decoder layer's matching differs from that of the layer before."""
    if found[0].final == 0:
        return {}
    names = [str(layer) for layer in range(1, found[0].final + 1)]
    others = np.mean([between_layers(image) for image in found], 0).tolist()
    apart = np.concatenate([moved_between_layers(image) for image in found], 1)
    return {
        "instability_between_layers": dict(zip(names, others, strict=True)),
        "moved_between_layers": dict(zip(names, map(_mean, apart), strict=True)),
    }


def _spearman(found: Sequence[Learnt]) -> float | None:
    """Rank correlation of score and IoU over all pairs of the detecting layer."""
    score, overlap = (
        np.concatenate([getattr(image, name)[image.in_final()] for image in found]) for name in ("score", "iou")
    )
    if len(score) < 2 or np.ptp(score) == 0 or np.ptp(overlap) == 0:
        return None
    return float(stats.spearmanr(score, overlap).statistic)


def _by_size(sizes: np.ndarray, values: np.ndarray, of: Any = np.mean) -> dict[str, float | None]:
    """The values of the objects of each size together; those that are no number are left out."""
    known = ~np.isnan(np.asarray(values, dtype=np.float64))
    chosen = [values[(sizes == index) & known] for index in range(len(SIZES))]
    return {size: float(of(part)) if len(part) else None for size, part in zip(SIZES, chosen, strict=True)}


def _mean(values: np.ndarray) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None

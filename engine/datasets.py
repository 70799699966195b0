"""mmdet's data set and loaders over a `DataSource`."""

from __future__ import annotations

import copy
import os
import random
import resource
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import cv2
import numpy as np
import torch
from mmdet.datasets import BaseDetDataset
from mmdet.utils import register_all_modules
from mmengine.dataset import Compose, DefaultSampler, pseudo_collate
from mmengine.registry import DefaultScope
from torch.utils.data import DataLoader

from ..assigners.registry import unknown_name
from ..data import DataSource
from ..data.pictures import silent_decoder
from ..data.reader import load_split
from .augmentation import AUGMENTATIONS, pictures
from .entries import Entries
from .sampling import Shuffled, repeat_factors

LOADING = 2  # transforms of training that load a picture and its objects
_BOXES = {"type": "LoadAnnotations", "with_bbox": True}


class DetectionData(BaseDetDataset):
    """mmdet's data set over the project's reader, with label l for the category with the l-th smallest id.

    Images without objects stay: they are what a detector must be silent on.

    Args:
        source: the data set.
        split: "train", "val" or "test".
        transforms: mmdet's, from an image's entry to what the model takes.
        indices: of the images that are wanted; None for all.

    Raises:
        ValueError: for annotations that forbid training.
    """

    def __init__(
        self,
        source: DataSource,
        split: str,
        transforms: list[dict[str, Any]],
        indices: Sequence[int] | None = None,
    ) -> None:
        self.source, self.split = source, split
        classes = {"classes": source.classes}
        options = {"test_mode": split != "train", "max_refetch": 0, "indices": indices, "serialize_data": False}
        super().__init__(metainfo=classes, pipeline=transforms, **options)
        load, staged = self.pipeline.transforms[:LOADING], self._staged()
        for transform in staged:
            transform.another = partial(self._another, Compose(load))

    def _staged(self) -> list[Any]:
        """Transforms that change on the way and take further pictures of the set."""
        return [transform for transform in self.pipeline.transforms if hasattr(transform, "another")]

    def _another(self, load: Compose) -> dict[str, Any]:
        return load(self.get_data_info(np.random.randint(len(self))))

    def set_progress(self, share: float) -> None:
        """Tell the transforms that change on the way how much of the training is done."""
        for transform in self._staged():
            transform.progress = share

    def load_data_list(self) -> Entries:
        """An entry for each image."""
        return Entries(load_split(self.source, self.split), self.source.place(self.split).images)

    def prepare_data(self, index: int) -> Any:
        """One transformed image; an image that cannot be read, or is too thin to be resized, is named."""
        try:
            with silent_decoder():
                return super().prepare_data(index)
        except (AssertionError, OSError, ValueError, cv2.error) as error:
            info = self.get_data_info(index)
            size = f"{info['width']} x {info['height']}"
            raise ValueError(
                f"image {info['img_path']} ({size}) cannot be read or resized; "
                "see 'detassign data check --decode' and input.scale"
            ) from error


def train_loader(
    source: DataSource, settings: Mapping[str, Any], batch_size: int, seed: int, steps: int | None = None
) -> DataLoader:
    """Shuffled training batches of this process, for at most so many steps in all."""
    dataset, least = _dataset(source, "train", _train_transforms(settings)), settings.get("repeat_rare")
    factors = repeat_factors(load_split(source, "train"), least) if least is not None else None
    sampler = Shuffled(dataset, seed, batch_size, steps, factors)
    drop_last = len(sampler) >= batch_size
    return _loader(dataset, sampler, batch_size, _workers(settings), drop_last=drop_last)


def eval_loader(source: DataSource, settings: Mapping[str, Any], batch_size: int, split: str = "val") -> DataLoader:
    """All images of a split, in order; in a job of several processes, this one's."""
    dataset = _dataset(source, split, _eval_transforms(settings))
    return _loader(dataset, DefaultSampler(dataset, shuffle=False), batch_size, _workers(settings))


def plain_training_images(source: DataSource, settings: Mapping[str, Any], indices: Sequence[int]) -> DetectionData:
    """Some training images with their objects, as evaluation sees them: nothing about them is random."""
    load, resize, pack = _eval_transforms(settings)
    with _mmdet_scope():
        return DetectionData(source, "train", [load, _BOXES, resize, pack], indices)


def eval_steps(settings: Mapping[str, Any]) -> tuple[Compose, Compose]:
    """Evaluation's transforms in two halves: from "img_path" to pixels, and from those to what the model takes."""
    load, *rest = _eval_transforms(settings)
    with _mmdet_scope():
        return Compose([load]), Compose(rest)


@contextmanager
def _mmdet_scope() -> Iterator[None]:
    """Names of transforms mean mmdet's, whatever scope an earlier runner of this process has left behind."""
    register_all_modules(init_default_scope=False)
    with DefaultScope.overwrite_default_scope("mmdet"):
        yield


def at_settings(dataset: DetectionData, settings: Mapping[str, Any]) -> DetectionData:
    """The same images under other settings of evaluation; annotations are shared."""
    other = copy.copy(dataset)
    with _mmdet_scope():
        other.pipeline = Compose(_eval_transforms(settings))
    return other


def _dataset(source: DataSource, split: str, transforms: list[dict[str, Any]]) -> DetectionData:
    with _mmdet_scope():
        return DetectionData(source, split, transforms)


def _loader(
    dataset: DetectionData, sampler: DefaultSampler, batch_size: int, workers: int, **options: Any
) -> DataLoader:
    if workers:
        _allow_open_files()
    return DataLoader(
        dataset,
        batch_size,
        sampler=sampler,
        num_workers=workers,
        collate_fn=pseudo_collate,
        worker_init_fn=_seed_worker,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=False,  # a new epoch's workers are seeded from torch's state, which a resumed run restores
        **options,
    )


def _allow_open_files() -> None:
    """As many as the system lets this process have: a worker hands over each tensor as one, and without it the run hangs."""
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed != most:
        with suppress(OSError, ValueError):  # where there is no limit, some systems take no number
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _seed_worker(_: int) -> None:
    seed = torch.initial_seed() % 2**32
    random.seed(seed)
    np.random.seed(seed)
    torch.set_num_threads(1)


def _workers(settings: Mapping[str, Any]) -> int:
    if settings.get("workers") is not None:
        return settings["workers"]
    return min(4, max(0, (os.cpu_count() or 1) - 2)) if torch.cuda.is_available() else 0


def _train_transforms(settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    flips = [{"type": "RandomFlip", "prob": 0.5, "direction": direction} for direction in settings["flip"]]
    return [
        *_load(),
        _BOXES,
        _augment(settings),
        *flips,
        {"type": "FilterAnnotations", "min_gt_bbox_wh": (0, 0), "keep_empty": False},  # what a smaller picture cut off
        _pack(flips),
    ]


def _augment(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A resize, or a named augmentation around one, after what is done to pictures of any size."""
    name = settings.get("augmentation")
    if name is not None and name not in AUGMENTATIONS:
        raise ValueError(unknown_name("input.augmentation", name, AUGMENTATIONS))
    if name is not None and settings["multi_scale"]:
        raise ValueError(
            f"input.multi_scale: {name!r} of input.augmentation chooses sizes itself; set one of them to None"
        )
    scale, keep_ratio = tuple(settings["scale"]), settings["keep_ratio"]
    sizing = _resize(settings, training=True) if name is None else AUGMENTATIONS[name](scale, keep_ratio)
    return pictures(settings, sizing)


def _eval_transforms(settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [*_load(), _resize(settings, training=False), _pack([])]


def _load() -> list[dict[str, Any]]:
    return [{"type": "LoadImageFromFile", "imdecode_backend": "cv2"}]


def _resize(settings: Mapping[str, Any], training: bool) -> dict[str, Any]:
    choose = partial(dict, keep_ratio=settings["keep_ratio"])
    if training and settings["multi_scale"]:
        scales = [tuple(scale) for scale in settings["multi_scale"]]
        return choose(type="RandomResize", scale=scales)
    return choose(type="Resize", scale=tuple(settings["scale"]))


def _pack(flips: list[dict[str, Any]]) -> dict[str, Any]:
    keys = ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")
    return {"type": "PackDetInputs", "meta_keys": (*keys, "flip", "flip_direction") if flips else keys}

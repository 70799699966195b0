"""mmdet's COCO data set and loaders over a `DataSource`."""

from __future__ import annotations

import io
import os
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from functools import partial
from typing import Any

import cv2
import numpy as np
import torch
from cv2.utils import logging as cv2_logging
from mmdet.datasets import CocoDataset
from mmdet.datasets.api_wrappers import COCO
from mmdet.utils import register_all_modules
from mmengine.dataset import Compose, DefaultSampler, pseudo_collate
from mmengine.registry import DefaultScope
from torch.utils.data import DataLoader

from ..assigners.registry import unknown_name
from ..data import DataSource
from .augmentation import AUGMENTATIONS


class SortedCategories(COCO):
    """COCO's reader with categories in the order of their ids, whatever the file's order, and no talk on the terminal."""

    def __init__(self, annotation_file: str | None = None) -> None:
        with redirect_stdout(io.StringIO()):
            super().__init__(annotation_file)
        for annotation in self.dataset.get("annotations", []):
            annotation.setdefault("iscrowd", 0)
            annotation.setdefault("area", annotation["bbox"][2] * annotation["bbox"][3])

    def get_cat_ids(self, *arguments: Any, **named: Any) -> list[int]:
        return sorted(super().get_cat_ids(*arguments, **named))


class DetectionData(CocoDataset):
    """mmdet's data set with label l for the category with the l-th smallest id."""

    COCOAPI = SortedCategories

    def prepare_data(self, index: int) -> Any:
        """One transformed image; an image that cannot be read, or is too thin to be resized, is named."""
        try:
            with silent_decoder():
                return super().prepare_data(index)
        except (AssertionError, OSError, ValueError, cv2.error) as error:
            info = self.get_data_info(index)
            size = f"{info['width']} x {info['height']}"
            raise ValueError(
                f"image {info['img_path']} ({size}) cannot be read or resized; see 'detassign data check' and input.scale"
            ) from error


@contextmanager
def silent_decoder() -> Iterator[None]:
    """OpenCV says on the terminal what it finds wrong with a file; here the caller says it."""
    level = cv2_logging.getLogLevel()
    cv2_logging.setLogLevel(cv2_logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2_logging.setLogLevel(level)


def train_loader(source: DataSource, settings: Mapping[str, Any], batch_size: int, seed: int) -> DataLoader:
    """Shuffled training batches of this process; the order depends on the seed and the epoch alone."""
    dataset = _dataset(source, "train", _train_transforms(settings))
    sampler = DefaultSampler(dataset, shuffle=True, seed=seed)
    drop_last = len(sampler) >= batch_size
    return _loader(dataset, sampler, batch_size, _workers(settings), drop_last=drop_last)


def eval_loader(source: DataSource, settings: Mapping[str, Any], batch_size: int, split: str = "val") -> DataLoader:
    """All images of a split, in order; in a job of several processes, this one's."""
    dataset = _dataset(source, split, _eval_transforms(settings))
    return _loader(dataset, DefaultSampler(dataset, shuffle=False), batch_size, _workers(settings))


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


def _dataset(source: DataSource, split: str, transforms: list[dict[str, Any]]) -> DetectionData:
    annotations, images = getattr(source, f"{split}_annotations"), getattr(source, f"{split}_images")
    with _mmdet_scope():
        return DetectionData(
            ann_file=str(annotations),
            data_prefix={"img": str(images)},
            metainfo={"classes": source.classes},
            pipeline=transforms,
            filter_cfg={
                "filter_empty_gt": False,
                "min_size": 0,
            },  # images without objects are what a detector must be silent on
            test_mode=split == "val",
            max_refetch=0,
        )


def _loader(
    dataset: DetectionData, sampler: DefaultSampler, batch_size: int, workers: int, **options: Any
) -> DataLoader:
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
        {"type": "LoadAnnotations", "with_bbox": True},
        _augment(settings),
        *flips,
        _pack(flips),
    ]


def _augment(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A resize, or a named augmentation around one."""
    name = settings.get("augmentation")
    if name is None:
        return _resize(settings, training=True)
    if name not in AUGMENTATIONS:
        raise ValueError(unknown_name("input.augmentation", name, AUGMENTATIONS))
    if settings["multi_scale"]:
        raise ValueError(
            f"input.multi_scale: {name!r} of input.augmentation chooses sizes itself; set one of them to None"
        )
    return AUGMENTATIONS[name](tuple(settings["scale"]), settings["keep_ratio"])


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

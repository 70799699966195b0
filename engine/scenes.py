"""One image of a data set with its objects, as a detector sees them, and the predictions to show assigners on."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from mmengine.dataset import pseudo_collate
from torch import Tensor

from ..assigners import Predictions, Targets
from ..data import DataSource
from ..evidence.inspection.scene import Scene
from ..heads.query import QueryHead, QueryOutputs
from .build import Detector, build_model, load_checkpoint
from .datasets import DetectionData, eval_loader
from .predict import check_header
from .train import calm


def load_scene(
    source: DataSource, settings: Mapping[str, Any], which: str, split: str = "val", stored_size: bool = False
) -> Scene:
    """An image of a split.

    Args:
        source: the data set.
        settings: the "input" part of a resolved config.
        which: index in the split, or file name.
        split: "train" or "val".
        stored_size: leave the image at the size it is stored in, unless that exceeds the config's input size.

    Raises:
        ValueError: when there is no such image, or its file cannot be read.
    """
    dataset = eval_loader(source, settings, 1, split).dataset
    index = find_image(dataset, which, split)
    info = dataset.get_data_info(index)
    if stored_size:
        smaller = {**settings, "scale": _at_most((info["width"], info["height"]), settings["scale"])}
        dataset = eval_loader(source, smaller, 1, split).dataset
    check_header(Path(info["img_path"]))
    packed = dataset[index]
    image = packed["inputs"].flip(0).permute(1, 2, 0).numpy()  # from BGR
    name = Path(info["img_path"]).name
    return Scene(name, index, image, _targets(info, packed), source.classes, packed)


def find_image(dataset: DetectionData, which: str, split: str) -> int:
    """The index of an image given by index or by file name.

    Raises:
        ValueError: when it is out of range or no such file is in the split, with the nearest name.
    """
    if which.isdecimal():
        if int(which) >= len(dataset):
            raise ValueError(f"--image {which}: {split} has {len(dataset)} images, the last is {len(dataset) - 1}")
        return int(which)
    names = {Path(dataset.get_data_info(index)["img_path"]).name: index for index in range(len(dataset))}
    if which not in names:
        close = get_close_matches(which, names, 1)
        hint = f"; did you mean {close[0]!r}?" if close else f"; expected an index below {len(names)} or a file name"
        raise ValueError(f"--image {which!r}: no such image in {split}{hint}")
    return names[which]


@torch.no_grad()
def predict_scene(config: Mapping[str, Any], checkpoint: Path, scene: Scene) -> tuple[Predictions, Any]:
    """A trained model's predictions for a scene, and the score model they are written for.

    Raises:
        ValueError: when the checkpoint is not of the config's model.
    """
    model, images = load_model(config, checkpoint, scene)
    return model.predictions(images).at_least_float32(), model.bbox_head.assigner.score


@torch.no_grad()
def predict_scene_queries(config: Mapping[str, Any], checkpoint: Path, scene: Scene) -> tuple[QueryOutputs, Any]:
    """What every decoder layer of a trained query detector says of a scene, and the score model it is written for.

    Raises:
        ValueError: when the checkpoint is not of the config's model.
    """
    model, images = load_model(config, checkpoint, scene)
    return _outputs(model, images, scene), model.bbox_head.assigner.score


@torch.no_grad()
def predict_scene_in_training(
    config: Mapping[str, Any], checkpoint: Path, scene: Scene
) -> tuple[QueryHead, QueryOutputs]:
    """A trained query detector's head, and what all that it trains says of a scene: denoising and extras, too.

    Raises:
        ValueError: when the checkpoint is not of the config's model.
    """
    model, images = load_model(config, checkpoint, scene)
    return model.bbox_head, _outputs(model, images, scene, scene.targets)


def load_model(config: Mapping[str, Any], checkpoint: Path, scene: Scene) -> tuple[Detector, Tensor]:
    """A trained model and the batch (1, 3, H, W) that it makes of a scene."""
    with calm():
        model = build_model(config, initialise=False).eval()
        load_checkpoint(model, checkpoint, config["data"]["classes"])
    return model, model.data_preprocessor(pseudo_collate([scene.packed]), False)["inputs"]


def _outputs(model: Detector, images: Tensor, scene: Scene, targets: Targets | None = None) -> QueryOutputs:
    shape = (images.shape[-2], images.shape[-1])
    return model.outputs(
        model.extract_feat(images), scene.targets.sizes, shape, shape != scene.image.shape[:2], targets
    )


def _at_most(size: tuple[int, int], limit: tuple[int, int]) -> tuple[int, int]:
    fits = max(size) <= max(limit) and min(size) <= min(limit)
    return size if fits else tuple(limit)


def _targets(info: Mapping[str, Any], packed: Mapping[str, Any]) -> Targets:
    """The objects of a data set's entry in pixels of the resized image."""
    scale = torch.tensor(packed["data_samples"].scale_factor, dtype=torch.float32).repeat(2)
    ignored = torch.tensor([bool(entry["ignore_flag"]) for entry in info["instances"]], dtype=torch.bool)
    boxes = torch.tensor([entry["bbox"] for entry in info["instances"]], dtype=torch.float32).view(-1, 4) * scale
    labels = torch.tensor([entry["bbox_label"] for entry in info["instances"]], dtype=torch.long)
    crowds = [boxes[ignored]] if ignored.any() else None
    size = torch.tensor([packed["data_samples"].img_shape[1::-1]])
    return Targets.from_lists([boxes[~ignored]], [labels[~ignored]], crowds, size)

"""One image of a data set with its objects, as a detector sees them, and the predictions to show assigners on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from mmengine.dataset import pseudo_collate
from torch import Tensor

from ..assigners import Predictions, Targets
from ..data import DataSource
from ..evidence.inspection.scene import Scene
from ..heads.query import QueryOutputs
from .build import Detector, build_model, load_checkpoint
from .datasets import DetectionData, at_settings, eval_loader
from .prediction.reading import check_header
from .runner import calm


def load_scene(
    source: DataSource, settings: Mapping[str, Any], which: str, split: str = "val", stored_size: bool = False
) -> Scene:
    """An image of a split.

    Args:
        source: the data set.
        settings: the "input" part of a resolved config.
        which: index in the split, or file name.
        split: "train", "val" or "test".
        stored_size: leave the image at the size it is stored in, unless that exceeds the config's input size.

    Raises:
        ValueError: when there is no such image, or its file cannot be read.
    """
    dataset = eval_loader(source, settings, 1, split).dataset
    return _scene(dataset, settings, find_image(dataset, which, split), stored_size)


def scenes(
    source: DataSource, settings: Mapping[str, Any], split: str, stored_size: bool = False
) -> tuple[int, Iterator[Scene]]:
    """How many images a split has, and they, one at a time; arguments as of `load_scene`.

    Raises:
        ValueError: when the file of an image cannot be read.
    """
    dataset = eval_loader(source, settings, 1, split).dataset
    return len(dataset), (_scene(dataset, settings, index, stored_size) for index in range(len(dataset)))


def stored_boxes(scene: Scene) -> Tensor:
    """(M, 4) xyxy boxes of the objects in pixels of the image as it is stored."""
    return scene.targets.boxes[0] / torch.tensor(scene.packed["data_samples"].scale_factor).repeat(2)


def _scene(dataset: DetectionData, settings: Mapping[str, Any], index: int, stored_size: bool) -> Scene:
    info = dataset.get_data_info(index)
    if stored_size:
        scale = _at_most((info["width"], info["height"]), settings["scale"])
        dataset = at_settings(dataset, {**settings, "scale": scale})
    check_header(Path(info["img_path"]))
    packed = dataset[index]
    image = packed["inputs"].flip(0).permute(1, 2, 0).numpy()  # from BGR
    name = Path(info["img_path"]).name
    return Scene(name, index, image, _targets(info, packed), dataset.source.classes, packed)


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
def predict_scene(model: Detector, scene: Scene) -> Predictions:
    """A dense detector's predictions for a scene."""
    return model.predictions(images_of(model, scene)).at_least_float32()


@torch.no_grad()
def predict_scene_queries(model: Detector, scene: Scene) -> QueryOutputs:
    """What every decoder layer of a query detector says of a scene."""
    return _outputs(model, images_of(model, scene), scene)


@torch.no_grad()
def predict_scene_in_training(model: Detector, scene: Scene) -> QueryOutputs:
    """What all that a query detector trains says of a scene: denoising and extras, too."""
    return _outputs(model, images_of(model, scene), scene, scene.targets)


def load_model(config: Mapping[str, Any], checkpoint: Path) -> Detector:
    """A trained model.

    Raises:
        ValueError: when the checkpoint is not of the config's model.
    """
    with calm():
        model = build_model(config, initialise=False).eval()
        load_checkpoint(model, checkpoint, config["data"]["classes"])
    return model


def images_of(model: Detector, scene: Scene) -> Tensor:
    """The batch (1, 3, H, W) that a model makes of a scene."""
    return model.data_preprocessor(pseudo_collate([scene.packed]), False)["inputs"]


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

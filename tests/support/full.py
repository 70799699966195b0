"""The full-size models that the papers' code recorded numbers with: ResNet-50, 256 channels, weights from a recipe."""

import json
import zlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from support.detr import FAMILIES, Model, size_of
from support.golden import Case, golden_folder
from support.noise import Replayed

from detassign.assigners import Assignment
from detassign.configs.detectors.parts import resnet
from detassign.detectors.transformer.queries import Queries
from detassign.engine.build import build_model
from detassign.engine.config import plain
from detassign.engine.conversion.official import from_official
from detassign.heads.query import QueryOutputs

MAPS = {True: ((1, 2, 3), (512, 1024, 2048)), False: ((3,), (2048,))}  # several levels or one: stages, channels


def full_models():
    """Folders of the full-size models that are there."""
    folders = sorted((golden_folder() / "detr").glob("full_*"))
    return [folder for folder in folders if folder.name.removeprefix("full_") in FAMILIES]


def recipe_weights(rows, seed):
    """Official state dict from the rows of a recipe; rows with one canonical name are one tensor."""
    tensors = {}
    for _, canonical, shape, shift, scale, absolute in rows:
        if canonical in tensors:
            continue
        random = np.random.RandomState((zlib.crc32(canonical.encode()) ^ seed) & 0xFFFFFFFF)
        z = random.standard_normal(int(np.prod(shape)))
        z = np.abs(z) if absolute else z
        tensors[canonical] = torch.from_numpy((shift + scale * z).astype(np.float32).reshape(shape))
    return {name: tensors[canonical] for name, canonical, *_ in rows}


def described(family, size, options, num_classes, several):
    """The model's dict: `family` on ResNet-50 with frozen batch norm.

    Stages 1 to 3 of the backbone are frozen: gradients were recorded of stage 4 alone.
    """
    stages, channels = MAPS[several]
    backbone = resnet(
        50, frozen_stages=3, out_indices=stages, norm_cfg={"type": "BN", "requires_grad": False}, init_cfg=None
    )
    description = plain(family(backbone, channels, size, **options))
    description["head"]["num_classes"] = num_classes
    return description


def detector_of(description):
    """The detector, whose weights will all be replaced."""
    return build_model({"model": description}, initialise=False)


class FullModel(Model):
    """A full-size model with its two scenarios; the backbone's maps are computed once."""

    def __init__(self, folder):
        self.name = folder.name
        self.cases = {name: Case(folder / f"{name}.json") for name in ("eval_pad", "train_pad")}
        self.case = self.cases["eval_pad"]
        rows = json.loads((folder / "weights_recipe.json").read_text())
        self.translation = from_official(recipe_weights(rows, self.case.sidecar["seed"]))
        self.detector = detector_of(self._description())
        self.problems = self.detector.load_state_dict(self.translation.state, strict=False)

    def _description(self):
        config = self.case.config
        family, options = FAMILIES[self.name.removeprefix("full_")]
        several = "num_feature_levels" in config
        return described(family, size_of(config), options, config["num_classes"], several)

    @property
    def images(self):
        """(B, 3, H, W) noise in the upper left corners."""
        height, width = self.case.arrays["input/padded_hw"].tolist()
        sizes = self.case.arrays["input/sizes_hw"].tolist()
        batch = torch.zeros(len(sizes), 3, height, width)
        for index, (h, w) in enumerate(sizes):
            noise = np.random.RandomState(self.case.sidecar["seed"] + index).standard_normal((3, h, w))
            batch[index, :, :h, :w] = torch.from_numpy(noise.astype(np.float32))
        return batch

    @cached_property
    def features(self):
        """The backbone's maps, with the graph of its last stage."""
        return self.detector.train().extract_feat(self.images)

    def run(self, scenario):
        """One forward pass with its losses, and in training a backward pass.

        Args:
            scenario: "eval_pad" or "train_pad".
        """
        case, training = self.cases[scenario], scenario == "train_pad"
        self.case = case
        self.detector.train(training)
        if training and self.detector.denoising is not None:
            self.detector.denoising.denoise = Replayed(case)
        features = self.features if training else [level.detach() for level in self.features]
        shape = tuple(case.arrays["input/padded_hw"].tolist())
        with torch.set_grad_enabled(training), Parts(self.detector) as parts:
            outputs = self.detector.outputs(features, self.sizes, shape, True, self.targets if training else None)
            assignment, losses = self.detector.bbox_head.assign_and_loss(outputs, self.targets)
        if training:
            sum(losses.values()).backward()
        return Run(case, outputs, assignment, losses, parts.levels, parts.queries)

    @cached_property
    def runs(self):
        """Both scenarios' passes, by name; later ones find the gradients that the training one left."""
        return {scenario: self.run(scenario) for scenario in self.cases}


class Parts:
    """What neck and queries gave while the detector ran."""

    def __init__(self, detector):
        self.hooks = [
            detector.neck.register_forward_hook(lambda *arguments: setattr(self, "levels", arguments[-1])),
            detector.queries.register_forward_hook(lambda *arguments: setattr(self, "queries", arguments[-1])),
        ]

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for hook in self.hooks:
            hook.remove()


@dataclass
class Run:
    """What came of one scenario."""

    case: Case
    outputs: QueryOutputs
    assignment: Assignment
    losses: dict
    levels: list
    queries: Queries

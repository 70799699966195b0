"""The full-size models that the papers' code recorded numbers with: on ResNet-50, weights from a recipe."""

import json
import zlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from support.detr import Model, description_of
from support.detr_checks import weighted
from support.golden import Case, golden_folder
from support.noise import Replayed

from detassign.assigners import Assignment
from detassign.configs.detectors.parts import resnet
from detassign.detectors.transformer.queries import Queries
from detassign.engine.build import build_model
from detassign.engine.conversion.official import from_official
from detassign.heads.query import QueryOutputs

STAGES = (256, 512, 1024, 2048)  # channels of ResNet-50's maps
RECIPE = "weights_recipe.json"


def full_models():
    """Folders of the full-size models that are there: those whose weights are a recipe."""
    return sorted(file.parent for file in (golden_folder() / "detr").glob(f"*/{RECIPE}"))


def scenario_names():
    """Names of the scenarios of any full-size model."""
    return sorted({file.stem for folder in full_models() for file in folder.glob("*.json") if file.name != RECIPE})


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


def resnet_with(channels):
    """ResNet-50 with frozen batch norm, whose maps have these channels.

    Its stages before the last are frozen: gradients were recorded of that alone.
    """
    stages = tuple(map(STAGES.index, channels))
    return resnet(
        50, frozen_stages=3, out_indices=stages, norm_cfg={"type": "BN", "requires_grad": False}, init_cfg=None
    )


def detector_of(description):
    """The detector, whose weights will all be replaced."""
    return build_model({"model": description}, initialise=False)


class FullModel(Model):
    """A full-size model with its scenarios; the backbone's maps are computed once."""

    def __init__(self, folder):
        self.name = folder.name
        names = [name for name in scenario_names() if (folder / f"{name}.json").exists()]
        self.cases = {name: Case(folder / f"{name}.json") for name in names}
        self.case = next(iter(self.cases.values()))
        state = recipe_weights(json.loads((folder / RECIPE).read_text()), self.case.sidecar["seed"])
        shapes = {name: tensor.shape for name, tensor in state.items()}
        self.translation = from_official(state)
        self.detector = detector_of(description_of(self.case, shapes, resnet_with))
        self.problems = self.detector.load_state_dict(self.translation.state, strict=False)
        self._set_constants()

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
        """One forward pass of a scenario with its losses, and in training a backward pass."""
        self.case = case = self.cases[scenario]
        training = case.sidecar["mode"] == "train"
        self.detector.train(training)
        if training and self.detector.denoising is not None:
            self.detector.denoising.denoise = Replayed(case)
        features = self.features if training else [level.detach() for level in self.features]
        shape = tuple(case.arrays["input/padded_hw"].tolist())
        with torch.set_grad_enabled(training), Parts(self.detector) as parts:
            outputs = self.detector.outputs(features, self.sizes, shape, True, self.targets if training else None)
            assignment, losses = self.detector.bbox_head.assign_and_loss(outputs, self.targets)
        losses = weighted(case, losses, self.assigner, len(outputs.logits))
        if training:
            sum(losses.values()).backward()
        return Run(case, outputs, assignment, losses, parts.levels, parts.queries)

    @cached_property
    def runs(self):
        """All scenarios' passes, by name; the gradients that the training one left stay."""
        return {scenario: self.run(scenario) for scenario in self.cases}

    def of_mode(self, mode):
        """The passes of a mode, "train" or "eval"."""
        return [run for run in self.runs.values() if run.case.sidecar["mode"] == mode]


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

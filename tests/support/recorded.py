"""Checkpoints of other projects, recorded from tiny models of their own code: see tests/engine/conversion/recorded."""

import json
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from detassign.configs.detectors import parts, query_parts
from detassign.engine.build import build_model
from detassign.engine.config import plain

FOLDER = Path(__file__).parents[1] / "engine" / "conversion" / "recorded"
TWO_STAGE = {"refine": True, "two_stage": True}
KINDS = {  # whose names they have, and the plain detector that each is a form of
    "align_detr": ("detrex", query_parts.dino, {}),
    "co_deformable_detr": ("co_detr", query_parts.deformable_detr, TWO_STAGE),
    "co_dino": ("co_detr", query_parts.dino, {}),
    "dac_detr": ("official", query_parts.deformable_detr, TWO_STAGE),
    "deta": ("official", query_parts.deformable_detr, TWO_STAGE),
    "group_detr": ("official", query_parts.conditional_detr, {}),
    "h_detr": ("official", query_parts.deformable_detr, TWO_STAGE),
    "ms_detr": ("official", query_parts.deformable_detr, TWO_STAGE),
    "rank_detr": ("detrex", query_parts.deformable_detr, TWO_STAGE),
    "relation_detr": ("relation_detr", query_parts.dino, {}),
    "stable_dino": ("detrex", query_parts.dino, {}),
}
QUERIES = 12


@dataclass
class Recorded:
    """One recorded model."""

    name: str

    def __post_init__(self):
        self.content = json.loads((FOLDER / f"{self.name}.json").read_text())
        self.source, self.make, self.options = KINDS[self.name]
        self.maps = slice(-1, None) if self.content["levels"] == 1 else slice(None)

    def features(self):
        """The maps that the projection takes, fine to coarse."""
        shapes = list(enumerate(self.content["features"]))[self.maps]
        return [normal(f"features.{level}", shape).float() for level, shape in shapes]

    def target(self):
        """The config of this project's plain detector of that size, on an eighth of a ResNet-18."""
        channels, count = self.content["channels"], self.content["classes"]
        size = query_parts.Size(channels=channels, hidden=32, encoder_layers=1, decoder_layers=2, queries=QUERIES)
        in_channels = tuple(shape[1] for shape in self.content["features"])[self.maps]
        backbone = parts.resnet(18, base_channels=8, out_indices=(1, 2, 3)[self.maps])
        extra = {"extra": self.content["levels"] - len(in_channels)} if self.content["levels"] > 1 else {}
        model = plain(self.make(backbone, in_channels, size, **extra, **self.options))
        model["head"]["num_classes"] = count
        classes = [f"class {number}" for number in range(count)]
        return {"name": self.name, "data": {"classes": classes}, "pretrained": None, "model": model}

    def state(self):
        """Its state dict, with a backbone of that size under the names that the project has."""
        table, state = self.content["tensors"], {}
        for name in sorted(table, key=lambda name: isinstance(table[name], str)):  # second names last
            state[name] = state[table[name]] if isinstance(table[name], str) else self._tensor(name, table[name])
        own = build_model(self.target(), initialise=False).state_dict()
        rename = {"official": torchvision_body, "detrex": detectron2}.get(self.source, str)
        backbone = {name: tensor for name, tensor in own.items() if name.startswith("backbone.")}
        return {**state, **{rename(name): tensor for name, tensor in backbone.items()}}

    def _tensor(self, name, entry):
        if isinstance(entry, dict):
            return torch.tensor(entry["values"])
        rule = self.content["set"].get(name)
        return drawn(name, entry) if rule is None else given(rule, entry)


def drawn(name, shape):
    """Weights that keep variances, as far as they can; those of norms around 1."""
    scale = np.prod(shape[1:]) ** 0.5 if len(shape) > 1 else 10 if shape else 1
    return (normal(name, shape) / float(scale)).float() + (len(shape) == 1 and name.endswith("weight"))


def given(rule, shape):
    """A number everywhere, or the identity in the first or last columns."""
    if not isinstance(rule, str):
        return torch.full(shape, float(rule))
    columns = slice(shape[0]) if rule == "first" else slice(-shape[0], None)
    tensor = torch.zeros(shape)
    tensor[:, columns] = torch.eye(shape[0])
    return tensor


def normal(name, shape):
    """Normal numbers told by a name."""
    values = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    return torch.tensor(np.asarray(values), dtype=torch.float64)


def torchvision_body(name):
    return name.replace("backbone.", "backbone.0.body.", 1)


def detectron2(name):
    """A name of a ResNet as detectron2 has it."""
    name = re.sub(r"\bbn(\d)", r"conv\1.norm", name.replace("downsample.0", "shortcut"))
    name = name.replace("downsample.1", "shortcut.norm").replace("backbone.conv1", "backbone.stem.conv1")
    return re.sub(r"layer(\d)", lambda stage: f"res{int(stage[1]) + 1}", name)

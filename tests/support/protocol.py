"""The papers' default models under one deterministic set of weights and images, whose results are known.

Every tensor of the official checkpoint is filled with sines that depend on its name; names and shapes come from the recorded
recipes, which are extended to what those models leave out (layers, patterns, queries).
"""

import json
import math
import re
import zlib
from dataclasses import dataclass, field

import torch
from support.detr import FAMILIES, projections
from support.full import RECIPE, detector_of, resnet_with
from support.golden import golden_folder

from detassign.assigners import Noise, Targets
from detassign.configs.detectors.query_parts import Size
from detassign.engine.config import plain
from detassign.engine.conversion.official import from_official
from detassign.heads.query import pixel_boxes

LABELS = ([1, 17, 3], [3])
BOXES = (
    [[0.5, 0.5, 0.4, 0.6], [0.25, 0.3, 0.2, 0.2], [0.7, 0.6, 0.3, 0.5]],
    [[0.4, 0.45, 0.5, 0.3]],
)
PUBLISHED = {"num_classes": 91, "hidden_dim": 256, "nheads": 8, "num_feature_levels": 4, "num_patterns": 0}
PUBLISHED |= {"enc_n_points": 4, "dec_n_points": 4}
ORIGINAL_SIZES = ((480, 640), (427, 600))  # height, width


class ConstantNoise(Noise):
    """Every uniform number is 0.1, every integer 1."""

    def uniform(self, shape, like):
        return torch.full(shape, 0.1)

    def integers(self, high, shape, like):
        return torch.ones(shape, dtype=torch.long)


@dataclass(frozen=True)
class System:
    """A published model.

    Attributes:
        recipe: recorded model that has its names.
        family: key of `FAMILIES`.
        scale: of the images.
        hidden, queries, select: as published.
        own_heads: each decoder layer has a head, where the recipe's share one.
        options: changes to the family's.
    """

    recipe: str
    family: str
    scale: int = 1
    hidden: int = 2048
    queries: int = 300
    select: int = 300
    own_heads: bool = False
    options: dict = field(default_factory=dict)

    @property
    def available(self):
        """There is a recipe, of a model as wide as the published one."""
        if not self._recipe.is_file():
            return False
        config = json.loads(self._recipe.with_name("eval_pad.json").read_text())["config"]
        return all(config.get(name, value) == value for name, value in PUBLISHED.items())

    @property
    def _recipe(self):
        return golden_folder() / "detr" / self.recipe / RECIPE

    def names(self):
        """Official name -> (what it is another name of, shape), in the order of the checkpoint."""
        rows = [(name, same, tuple(shape)) for name, same, shape, *_ in json.loads(self._recipe.read_text())]
        if self.own_heads:
            rows = [(name, name, shape) for name, _, shape in rows]
        if self.options.get("patterns"):
            rows.append(("transformer.patterns.weight", "transformer.patterns.weight", (self.options["patterns"], 256)))
        if self.options.get("activation") == "relu":
            rows = [row for row in rows if ".activation." not in row[0]]
        rows = [row for old in rows for row in _six_layers(*old)]
        return {name: (same, self._resized(name, shape)) for name, same, shape in rows}

    def _resized(self, name, shape):
        if re.search(r"layers\.\d\.linear[12]\.weight", name):
            return tuple(256 if length == 256 else self.hidden for length in shape)
        if re.search(r"layers\.\d\.linear1\.bias", name):
            return (self.hidden,)
        if name.removeprefix("transformer.").split(".")[0] in ("query_embed", "tgt_embed", "refpoint_embed"):
            return (self.queries, shape[1])
        return shape

    def weights(self):
        """The official state dict; all names of a tensor have the value of the last."""
        names = self.names()
        last = {same: name for name, (same, _) in names.items()}
        made = {same: sine_tensor(name, names[name][1]) for same, name in last.items()}
        return {name: made[same] for name, (same, _) in names.items()}

    def build(self):
        """The detector with these weights."""
        family = FAMILIES[self.family]
        channels, _ = projections({name: shape for name, (_, shape) in self.names().items()})
        size = Size(hidden=self.hidden, queries=self.queries, select=self.select)
        model = plain(family.make(resnet_with(channels), channels, size, **family.options, **self.options))
        model["head"]["num_classes"] = PUBLISHED["num_classes"]
        detector = detector_of(model)
        problems = detector.load_state_dict(from_official(self.weights()).state, strict=False)
        assert not problems.unexpected_keys
        assert [key for key in problems.missing_keys if not key.endswith(".num_batches_tracked")] == []
        return detector

    def images(self):
        """Images (2, 3, H, W) padded to one size, and the size (2, 2) width, height of each."""
        sizes = [(128 * self.scale, 96 * self.scale), (112 * self.scale, 80 * self.scale)]
        batch = torch.zeros(2, 3, 96 * self.scale, 128 * self.scale)
        for index, (width, height) in enumerate(sizes):
            count = torch.arange(3 * height * width, dtype=torch.float64)
            batch[index, :, :height, :width] = (0.01 * count + index).sin().view(3, height, width).float()
        return batch, torch.tensor(sizes).float()

    def targets(self):
        """Four objects in two images, and the same images without any."""
        _, sizes = self.images()
        boxes = [pixel_boxes(torch.tensor(b)[None], size[None])[0] for b, size in zip(BOXES, sizes, strict=True)]
        labels = [torch.tensor(image) for image in LABELS]
        none = [torch.zeros(0, 4)] * 2, [torch.zeros(0, dtype=torch.long)] * 2
        return Targets.from_lists(boxes, labels, sizes=sizes), Targets.from_lists(*none, sizes=sizes)


def _six_layers(name, same, shape):
    """Recipes may have fewer layers: the first stands for all six of encoder or decoder."""
    place = re.match(r"(transformer\.(?:encoder|decoder)\.layers\.)(\d)(\..*)", name)
    if place is None:
        return [(name, same, shape)]
    if "ca_qpos_proj" in name:
        return [(name, name, shape)]
    if place[2] != "0":
        return []
    return [(f"{place[1]}{layer}{place[3]}",) * 2 + (shape,) for layer in range(6)]


def sine_tensor(name, shape):
    """The value of an official tensor."""
    count = math.prod(shape)
    phase = (zlib.crc32(name.encode()) % 628) / 100
    s = (0.1 * torch.arange(count, dtype=torch.float64) + phase).sin().view(shape)
    if name.endswith("running_var"):
        s = 1 + 0.1 * s
    elif len(shape) > 1:
        s = s / math.sqrt(count / shape[0])
    elif name.endswith(".weight"):
        s = 1 + 0.02 * s
    else:
        s = 0.02 * s
    return s.float()

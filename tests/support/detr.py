"""The models that the papers' code recorded numbers with, as this project's detectors.

`FAMILIES` has what a paper's code fixes. Sizes, counts and constants that its config decides are those of the recording: its
sidecar's, or where that has none its weights'.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from inspect import signature

import numpy as np
import pytest
import torch
from support.criterion import set_constants
from support.golden import Case, golden_folder, missing
from torch import nn

from detassign.assigners import Targets
from detassign.configs.detectors import query_parts as parts
from detassign.detectors import QueryDetector
from detassign.engine.build import build_parts
from detassign.engine.config import plain
from detassign.engine.conversion.official import from_official
from detassign.heads.query import layer_names, pixel_boxes


@dataclass(frozen=True)
class Family:
    """A paper's code.

    Attributes:
        make: its function in `query_parts`.
        options: of that; a config decides others (`options_of`).
        reads: what it takes from its config besides, where others fix it: "activation" (ReLU), "cost_alpha" (0.25).
    """

    make: Callable
    options: dict = field(default_factory=dict)
    reads: tuple[str, ...] = ()


CONTRASTIVE = {"denoising": {"type": "cdn", "unknown_negatives": True}, "indicator": True}
FAMILIES = {
    "detr": Family(parts.detr),
    "conditional_detr": Family(parts.conditional_detr),
    "deformable_detr": Family(parts.deformable_detr),
    "dab_detr": Family(parts.dab_detr, reads=("activation", "cost_alpha")),
    "dab_deformable_detr": Family(parts.dab_deformable_detr, reads=("cost_alpha",)),
    "dn_detr": Family(parts.dab_detr, {"denoising": parts.DN_LABELS}, ("activation", "cost_alpha")),
    "dn_dab_deformable_detr": Family(parts.dab_deformable_detr, {"denoising": parts.DN_MARKED}, ("cost_alpha",)),
    "dn_dab_deformable_encoder_only": Family(
        parts.dab_deformable_encoder_only, {"denoising": parts.DN_LABELS}, ("activation", "cost_alpha")
    ),
    "dn_dab_dino_deformable_detr": Family(
        parts.dn_dab_dino_deformable_detr, {"denoising": CONTRASTIVE}, ("cost_alpha",)
    ),
    "dino": Family(parts.dino, reads=("activation", "cost_alpha")),
}
OPTIONS = {
    "pre_norm": "pre_norm",
    "patterns": "num_patterns",
    "refine": "with_box_refine",
    "two_stage": "two_stage",
    "shared": "dec_pred_bbox_embed_share",
}
CONTENTS = {True: "learned", False: "memory"}  # of DINO's queries, by embed_init_tgt
TERMS = {"loss_ce": "loss_cls", "loss_bbox": "loss_l1", "loss_giou": "loss_giou"}


def family_of(case):
    """Name of the family whose code a case was recorded with: variants have names that begin with it.

    Raises:
        pytest.skip.Exception: where there is no such family.
    """
    model = case.sidecar["model"]
    known = [name for name in FAMILIES if model.startswith(name)]
    if not known:
        pytest.skip(f"no family is known whose name {model} begins with")
    return max(known, key=len)


def scenarios(pattern, key="output/pred_logits"):
    """pytest parameters for the recorded scenarios of small models, those whose weights are stored, that hold a key."""
    folder = golden_folder() / "detr"
    found = [Case(file) for file in sorted(folder.glob(f"*/{pattern}.json"))]
    found = [case for case in found if "weights_file" in case.sidecar and key in case]
    named = [pytest.param(case, id=f"{case.path.parent.name}-{case.name}") for case in found]
    return named or missing(f"no model's {pattern} with {key} in {folder}")


def projections(shapes):
    """Channels of the backbone's maps, and how many further levels are made, from the shapes of a checkpoint by name."""
    kernels = [shape for name, shape in shapes.items() if re.fullmatch(r"input_proj\.(\d+\.0\.)?weight", name)]
    maps = [shape for shape in kernels if shape[-1] == 1]
    return tuple(shape[1] for shape in maps), len(kernels) - len(maps)


def options_of(family, config, extra):
    """Arguments of a family's function: what its code fixes, and of what the config decides all that the function takes."""
    decided = {option: config[key] for option, key in OPTIONS.items() if key in config}
    decided |= {"extra": extra, "content": CONTENTS[config.get("embed_init_tgt", True)]}
    known = signature(family.make).parameters
    return {option: value for option, value in decided.items() if option in known} | family.options


def temperature_of(config):
    """Of the position encoding of feature maps.

    Raises:
        pytest.skip.Exception: where rows and columns have two different ones.
    """
    keys = ("pe_temperature", "pe_temperatureH", "pe_temperatureW")
    temperatures = {config[key] for key in keys if key in config}
    if len(temperatures) > 1:
        pytest.skip("rows and columns share one temperature: no published model has two different ones")
    return float(temperatures.pop())


def description_of(case, shapes, backbone_of=lambda channels: {}):
    """The detector's dict, from the config of a case and the shapes of its weights.

    Args:
        backbone_of: from the channels of its maps; without one features take its place.
    """
    config, family = case.config, FAMILIES[family_of(case)]
    channels, extra = projections(shapes)
    options = options_of(family, config, extra)
    description = plain(family.make(backbone_of(channels), channels, size_of(config), **options))
    description["head"]["num_classes"] = config["num_classes"]
    description["encoder"]["temperature"] = temperature_of(config)
    for part, points in (("encoder", "enc_n_points"), ("decoder", "dec_n_points")):
        if "points" in description[part]:
            description[part]["points"] = config[points]
        if "activation" in family.reads:
            description[part]["activation"] = config["transformer_activation"]
    return description


def weights_of(case):
    """The recorded state dict."""
    with np.load(case.path.parent / case.sidecar["weights_file"]) as arrays:
        return {name.removeprefix("state_dict/"): torch.from_numpy(arrays[name]) for name in arrays.files}


class Model:
    """The detector that a case was recorded with, with the recorded weights; features take the backbone's place."""

    def __init__(self, case):
        self.case = case
        state = weights_of(case)
        description = description_of(case, {name: tensor.shape for name, tensor in state.items()})
        self.detector = QueryDetector(
            nn.Identity(), denoising=description["denoising"], **build_parts(description | {"backbone": None})
        )
        self.translation = from_official(state)
        self.detector.load_state_dict(self.translation.state)
        self.detector.train(case.sidecar["mode"] == "train")
        self._set_constants()

    def _set_constants(self):
        family = FAMILIES[family_of(self.case)]
        set_constants(self.assigner, self.case.config, "cost_alpha" in family.reads)

    @property
    def assigner(self):
        return self.detector.bbox_head.assigner

    def outputs(self, targets=None):
        """Predictions from the recorded features."""
        mask = self.case.tensor("input/image_mask")
        shape = tuple(mask.shape[1:])
        return self.detector.outputs(self.case.levels("input/feat"), self.sizes, shape, bool(mask.any()), targets)

    @property
    def sizes(self):
        """(B, 2) width and height."""
        return self.case.tensor("input/sizes_hw").flip(-1).float()

    @property
    def targets(self):
        count = len(self.sizes)
        boxes = [self.case.tensor(f"target/{i}/boxes").reshape(-1, 4) for i in range(count)]
        labels = [self.case.tensor(f"target/{i}/labels") for i in range(count)]
        shares = Targets.from_lists(boxes, labels, sizes=self.sizes)
        return replace(shares, boxes=pixel_boxes(shares.boxes, self.sizes))

    def parameter(self, official):
        """Our parameters that hold the official one, in order: a query embedding is cut in two."""
        second = official.startswith(("transformer.decoder.bbox_embed", "transformer.decoder.class_embed"))
        name = official.removeprefix("transformer.decoder.") if second else official
        ours = {theirs: own for own, theirs in self.translation.names.items()}
        named = dict(self.detector.named_parameters())
        if name == "query_embed.weight" and "queries.content.weight" in named:
            return [named["queries.position.weight"], named["queries.content.weight"]]
        return [named[ours[name]]]


def size_of(config):
    return parts.Size(
        channels=config["hidden_dim"],
        heads=config["nheads"],
        hidden=config["dim_feedforward"],
        encoder_layers=config["enc_layers"],
        decoder_layers=config["dec_layers"],
        queries=config["num_queries"],
        dropout=config["dropout"],
        select=config["num_select"],
    )


def our_loss(official, layers):
    """Our key of an official loss, or None where it is only logged."""
    denoising = official.startswith("tgt_") or "_dn" in official
    name = official.removeprefix("tgt_").replace("_dn", "").replace("_interm", "_enc")
    term, _, layer = name.removeprefix("loss_").partition("_")
    ending = f"_{layer}" if layer else ""
    if f"loss_{term}" not in TERMS or ending not in (*layer_names(layers), "_enc"):
        return None
    return f"{TERMS[f'loss_{term}']}{'_dn' if denoising else ''}{ending}"

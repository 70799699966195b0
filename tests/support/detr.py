"""The small models that the papers' code recorded numbers with, as this project's detectors."""

from dataclasses import replace

import numpy as np
import torch
from support.golden import Case, golden_folder
from torch import nn

from detassign.assigners import Targets
from detassign.configs.detectors import query_parts as parts
from detassign.detectors import QueryDetector
from detassign.engine.build import build_parts
from detassign.engine.config import plain
from detassign.engine.conversion.official import from_official
from detassign.heads.query import layer_names, pixel_boxes

CONTRASTIVE = {"denoising": {"type": "cdn", "unknown_negatives": True}, "indicator": True}
FAMILIES = {
    "detr": (parts.detr, {}),
    "detr_prenorm": (parts.detr, {"pre_norm": True}),
    "conditional_detr": (parts.conditional_detr, {}),
    "deformable_detr": (parts.deformable_detr, {}),
    "deformable_detr_single_scale": (parts.deformable_detr, {"extra": 0}),
    "deformable_detr_refine": (parts.deformable_detr, {"refine": True}),
    "deformable_detr_two_stage": (parts.deformable_detr, {"refine": True, "two_stage": True}),
    "dab_detr": (parts.dab_detr, {}),
    "dab_detr_patterns": (parts.dab_detr, {"patterns": 3}),
    "dab_deformable_detr": (parts.dab_deformable_detr, {}),
    "dn_detr": (parts.dab_detr, {"denoising": parts.DN_LABELS}),
    "dn_detr_patterns": (parts.dab_detr, {"denoising": parts.DN_LABELS, "patterns": 3}),
    "dn_dab_deformable_detr": (parts.dab_deformable_detr, {"denoising": parts.DN_MARKED}),
    "dn_dab_deformable_encoder_only": (
        parts.dab_deformable_encoder_only,
        {"denoising": parts.DN_LABELS, "activation": "prelu"},
    ),
    "dn_dab_dino_deformable_detr": (parts.dn_dab_dino_deformable_detr, {"denoising": CONTRASTIVE}),
    "dino_4scale": (parts.dino, {}),
    "dino_unshared_heads": (parts.dino, {"shared": False, "content": "memory"}),
}
TERMS = {"loss_ce": "loss_cls", "loss_bbox": "loss_l1", "loss_giou": "loss_giou"}


def scenarios(pattern):
    """Recorded scenarios of all small models, as (model, file) names for pytest ids."""
    files = sorted((golden_folder() / "detr").glob(f"*/{pattern}.json"))
    return [Case(file) for file in files if file.parent.name in FAMILIES]


class Model:
    """A detector of the family that a case is of, with the recorded weights; features take the backbone's place."""

    def __init__(self, case):
        self.case = case
        config, channels = case.config, tuple(case.sidecar["backbone_channels"])
        family, options = FAMILIES[case.path.parent.name]
        description = plain(family({}, channels, size_of(config), **options))
        description["head"]["num_classes"] = config["num_classes"]
        self.detector = QueryDetector(
            nn.Identity(), denoising=description["denoising"], **build_parts(description | {"backbone": None})
        )
        with np.load(case.path.parent / case.sidecar["weights_file"]) as arrays:
            state = {k.removeprefix("state_dict/"): torch.from_numpy(arrays[k]) for k in arrays.files}
        self.translation = from_official(state)
        self.detector.load_state_dict(self.translation.state)
        self.detector.train(case.sidecar["mode"] == "train")

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

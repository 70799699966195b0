"""The set criteria of the DETR family on recorded outputs: pairs, losses and gradients of every decoder layer at once."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.golden import named_cases
from support.queries import pixels, query_targets

from detassign.assigners import Matches, Predictions, build

PRESETS = {
    "detr": "detr",
    "cond": "deformable_detr",
    "defdetr": "deformable_detr",
    "dab": "hungarian",
    "dndetr": "hungarian",
    "dino": "hungarian",
}
COEFFICIENTS = {"detr": (1, 5, 2), "deformable_detr": (2, 5, 2), "hungarian": (1, 5, 2)}
NAMES = ("ce", "bbox", "giou")


class Recorded:
    """One batch of a criterion's recording."""

    def __init__(self, case, name):
        self.case, self.name = case, name
        self.settings = case.sidecar["cases"][name]
        self.images = len(self.settings["counts"])
        self.targets = query_targets(case, f"{name}/target", self.images)
        self.preset = PRESETS[case.name.removeprefix("criterion_")]
        self.assigner = build(self.preset, num_classes=case.sidecar["num_classes"])

    def __contains__(self, key):
        return f"{self.name}/{key}" in self.case

    def outputs(self, layers):
        """Recorded logits and boxes (cxcywh, shares) of some layers as leaves, stacked."""
        stack = [torch.cat([self.case.tensor(f"{self.name}/output/{k}/pred_{p}") for k in layers]) for p in PARTS]
        return [values.requires_grad_() for values in stack]

    def check(self, layers, losses, suffixes, leaves):
        """Losses, each (layers,), and the gradient of their sum without coefficients, are those recorded."""
        classes, l1, giou = (losses["loss_cls_pos"] + losses["loss_cls_neg"], losses["loss_l1"], losses["loss_giou"])
        plain = [v / c for v, c in zip((classes, l1, giou), COEFFICIENTS[self.preset], strict=True)]
        tolerance = self.case.sidecar["recommended"]
        for place, suffix in enumerate(suffixes):
            for name, value in zip(NAMES, plain, strict=True):
                key = f"{self.name}/loss/{suffix.format(name)}"
                np.testing.assert_allclose(
                    value[place].item(), self.case.arrays[key], **tolerance["loss"], err_msg=f"{self.case.name} {key}"
                )
        sum(v.sum() for v in plain).backward()
        for part, leaf in zip(PARTS, leaves, strict=True):
            for layer, gradient in zip(layers, leaf.grad.split(self.images), strict=True):
                key = f"{self.name}/grad/{layer}/pred_{part}"
                np.testing.assert_allclose(gradient, self.case.arrays[key], **tolerance["grad"], err_msg=key)


PARTS = ("logits", "boxes")


def check_pairs(recorded, layers, matches):
    for place, layer in enumerate(layers):
        for image in range(recorded.images):
            here = matches.image == place * recorded.images + image
            pairs = torch.stack([matches.sample[here], matches.target[here]])
            np.testing.assert_array_equal(pairs, recorded.case.arrays[f"{recorded.name}/match/{layer}/{image}"])


@pytest.mark.parametrize(("case", "name"), named_cases("detr/components", "criterion_*"))
def test_all_layers_equal_the_original(case, name):
    recorded = Recorded(case, name)
    layers = [layer for layer in ("last", "aux_0", "aux_1", "interm") if f"output/{layer}/pred_logits" in recorded]
    suffixes = {"last": "loss_{}", "aux_0": "loss_{}_0", "aux_1": "loss_{}_1", "interm": "loss_{}_interm"}
    logits, boxes = recorded.outputs(layers)
    predictions = Predictions(logits, pixels(boxes), groups=len(layers))
    assignment, losses = recorded.assigner.assign_and_loss(predictions, recorded.targets.repeat(len(layers)))
    check_pairs(recorded, layers, assignment.matches)
    recorded.check(layers, losses, [suffixes[layer] for layer in layers], (logits, boxes))


def with_output(pattern, layers):
    """The recorded batches that have an output of one of these layers, all but those of a variant or without objects."""
    found = named_cases("detr/components", pattern)
    return [p for p in found if p.values[0] is None or any(output_of(p, layer) in p.values[0] for layer in layers)]


def output_of(parameter, layer):
    return f"{parameter.values[1]}/output/{layer}/pred_logits"


@pytest.mark.parametrize(("case", "name"), with_output("criterion_defdetr", ["enc"]))
def test_the_encoders_tokens_equal_the_original(case, name):
    recorded = Recorded(case, name)
    logits, boxes = recorded.outputs(["enc"])
    targets = replace(recorded.targets, labels=torch.zeros_like(recorded.targets.labels))
    predictions = Predictions(logits, pixels(boxes), groups=1)
    assignment, losses = recorded.assigner.assign_and_loss(predictions, targets)
    check_pairs(recorded, ["enc"], assignment.matches)
    recorded.check(["enc"], losses, ["loss_{}_enc"], (logits, boxes))


def known_pairs(recorded, layers, groups, block, leave_out_padding):
    """Slot j of every group answers for target j: the pairs of denoising queries, written down one by one."""
    triples = [
        (layer * recorded.images + image, group * block + j, j)
        for layer in range(layers)
        for image, count in enumerate(recorded.settings["counts"])
        for group in range(groups)
        for j in range(count)
    ]
    image, sample, target = torch.tensor(triples, dtype=torch.long).view(-1, 3).unbind(1)
    ignored = None
    if leave_out_padding:
        ignored = torch.ones(layers * recorded.images, groups * block, dtype=torch.bool)
        ignored[image, sample] = False
    return Matches(image, sample, target, torch.ones(len(image)), ignored)


@pytest.mark.parametrize(("case", "name"), with_output("criterion_d[in]*", ["dn_last", "dn_0"]))
def test_denoising_equals_the_original(case, name):
    recorded = Recorded(case, name)
    dino = case.name == "criterion_dino"
    layers = ["dn_last", "dn_aux_0", "dn_aux_1"] if dino else ["dn_2", "dn_0", "dn_1"]
    groups = recorded.settings["dn_groups" if dino else "scalar"]
    block = recorded.settings["pad_size"] // groups
    suffixes = (
        ["loss_{}_dn", "loss_{}_dn_0", "loss_{}_dn_1"] if dino else ["tgt_loss_{}", "tgt_loss_{}_0", "tgt_loss_{}_1"]
    )
    logits, boxes = recorded.outputs(layers)
    matches = known_pairs(recorded, len(layers), groups, block, not dino)
    predictions = Predictions(logits, pixels(boxes), groups=len(layers))
    losses = recorded.assigner.loss(predictions, recorded.targets.repeat(len(layers)), matches)
    recorded.check(layers, losses, suffixes, (logits, boxes))

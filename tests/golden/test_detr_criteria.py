"""The set criteria of the DETR family on recorded outputs: pairs, losses and gradients of every decoder layer at once."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.criterion import coefficients, set_costs
from support.golden import golden_folder, missing, named_cases
from support.queries import noted, pixels, query_targets

from detassign.assigners import Matches, Predictions, build

PRESETS = {
    "detr": "detr",
    "cond": "deformable_detr",
    "defdetr": "deformable_detr",
    "dab": "hungarian",
    "dndetr": "hungarian",
    "dino": "hungarian",
}
NAMES = ("ce", "bbox", "giou")
PARTS = ("logits", "boxes")


class Recorded:
    """One batch of a criterion's recording."""

    def __init__(self, case, name):
        self.case, self.name = case, name
        self.settings = case.sidecar["cases"][name]
        self.images = len(self.settings["counts"])
        self.targets = query_targets(case, f"{name}/target", self.images)
        self.assigner = build(PRESETS[case.name.split("_")[1]], num_classes=case.sidecar["num_classes"])
        set_costs(self.assigner, case.sidecar["matcher_costs"])
        for weight in noted(case, "eos_coef").values():
            self.assigner.weighting.no_object = weight

    def endings(self, pattern):
        """Ending of the losses of every output whose name has a form; what the form captures is in it."""
        outputs = re.findall(rf"(?m)^{self.name}/output/(.*)/pred_logits$", "\n".join(self.case.arrays))
        found = [match for match in (re.fullmatch(pattern, output) for output in outputs) if match]
        return {match[0]: f"_{match[match.lastindex]}" if match.lastindex else "" for match in found}

    def outputs(self, layers):
        """Recorded logits and boxes (cxcywh, shares) of some layers as leaves, stacked."""
        stack = [torch.cat([self.case.tensor(f"{self.name}/output/{k}/pred_{p}") for k in layers]) for p in PARTS]
        return [values.requires_grad_() for values in stack]

    def check(self, layers, losses, form, leaves):
        """Losses, each (layers,), and the gradient of their sum without coefficients, are those recorded.

        Args:
            layers: endings of their names by output.
            form: what precedes the ending, with a place for the term.
        """
        classes, l1, giou = (losses["loss_cls_pos"] + losses["loss_cls_neg"], losses["loss_l1"], losses["loss_giou"])
        plain = [v / c for v, c in zip((classes, l1, giou), coefficients(self.assigner).values(), strict=True)]
        tolerance = self.case.sidecar["recommended"]
        for place, ending in enumerate(layers.values()):
            for name, value in zip(NAMES, plain, strict=True):
                key = f"{self.name}/loss/{form.format(name)}{ending}"
                np.testing.assert_allclose(
                    value[place].item(), self.case.arrays[key], **tolerance["loss"], err_msg=f"{self.case.name} {key}"
                )
        sum(v.sum() for v in plain).backward()
        for part, leaf in zip(PARTS, leaves, strict=True):
            for layer, gradient in zip(layers, leaf.grad.split(self.images), strict=True):
                key = f"{self.name}/grad/{layer}/pred_{part}"
                np.testing.assert_allclose(gradient, self.case.arrays[key], **tolerance["grad"], err_msg=key)


def check_pairs(recorded, layers, matches):
    for place, layer in enumerate(layers):
        for image in range(recorded.images):
            here = matches.image == place * recorded.images + image
            pairs = torch.stack([matches.sample[here], matches.target[here]])
            np.testing.assert_array_equal(pairs, recorded.case.arrays[f"{recorded.name}/match/{layer}/{image}"])


@pytest.mark.parametrize(("case", "name"), named_cases("detr/components", "criterion_*"))
def test_all_layers_equal_the_original(case, name):
    recorded = Recorded(case, name)
    layers = recorded.endings(r"last|aux_(\d+)|(interm)")
    logits, boxes = recorded.outputs(layers)
    predictions = Predictions(logits, pixels(boxes), groups=len(layers))
    assignment, losses = recorded.assigner.assign_and_loss(predictions, recorded.targets.repeat(len(layers)))
    check_pairs(recorded, layers, assignment.matches)
    recorded.check(layers, losses, "loss_{}", (logits, boxes))


def with_output(pattern):
    """The recorded batches that have an output whose name has a form: not those of a variant or without objects."""
    found = named_cases("detr/components", "criterion_*")
    having = [p for p in found if p.values[0] and Recorded(*p.values).endings(pattern)]
    return having or missing(f"no criterion with an output called {pattern} in {golden_folder()}", arguments=2)


@pytest.mark.parametrize(("case", "name"), with_output("(enc)"))
def test_the_encoders_tokens_equal_the_original(case, name):
    recorded = Recorded(case, name)
    layers = recorded.endings("(enc)")
    logits, boxes = recorded.outputs(layers)
    targets = replace(recorded.targets, labels=torch.zeros_like(recorded.targets.labels))
    predictions = Predictions(logits, pixels(boxes), groups=1)
    assignment, losses = recorded.assigner.assign_and_loss(predictions, targets)
    check_pairs(recorded, layers, assignment.matches)
    recorded.check(layers, losses, "loss_{}", (logits, boxes))


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


def check_denoising(recorded, layers, form, groups, leave_out_padding):
    block = recorded.settings["pad_size"] // groups
    logits, boxes = recorded.outputs(layers)
    matches = known_pairs(recorded, len(layers), groups, block, leave_out_padding)
    predictions = Predictions(logits, pixels(boxes), groups=len(layers))
    losses = recorded.assigner.loss(predictions, recorded.targets.repeat(len(layers)), matches)
    recorded.check(layers, losses, form, (logits, boxes))


DINO, DN = r"dn_(?:last|aux_(\d+))", r"dn_(\d+)"  # how they call the outputs of denoising


@pytest.mark.parametrize(("case", "name"), with_output(DINO))
def test_denoising_equals_dinos(case, name):
    recorded = Recorded(case, name)
    groups = recorded.settings["dn_groups"]
    check_denoising(recorded, recorded.endings(DINO), "loss_{}_dn", groups, leave_out_padding=False)


@pytest.mark.parametrize(("case", "name"), with_output(DN))
def test_denoising_equals_dn_detrs(case, name):
    recorded = Recorded(case, name)
    layers = recorded.endings(DN)
    layers[f"dn_{len(layers) - 1}"] = ""  # the last one's losses have no number
    check_denoising(recorded, layers, "tgt_loss_{}", recorded.settings["scalar"], leave_out_padding=True)

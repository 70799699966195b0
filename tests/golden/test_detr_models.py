"""Every recorded system of the DETR family: outputs, matches, losses and gradients of a forward and backward pass."""

import pytest
import torch
from support.detr import Model, scenarios
from support.detr_checks import check, check_detections, check_gradients, check_losses, check_matches, weighted
from support.noise import Replayed, box_pairs_of_the_original

from detassign.heads.query import layer_names, named, stacked_predictions

EVALUATED = scenarios("eval_*")
TRAINED = scenarios("train_*")


@pytest.mark.parametrize("case", EVALUATED)
def test_outputs_of_all_layers_equal_the_original(case):
    """In evaluation mode, padded and not."""
    with torch.no_grad():
        outputs = Model(case).outputs()
    check(case, "output/pred_logits", outputs.logits)
    check(case, "output/pred_boxes", outputs.boxes)
    for kind in ("interm", "enc"):
        if f"output/{kind}/pred_logits" in case:
            check(case, f"output/{kind}/pred_logits", outputs.encoder.logits[0])
            check(case, f"output/{kind}/pred_boxes", outputs.encoder.boxes[0])


@pytest.mark.parametrize("case", TRAINED)
def test_a_training_step_equals_the_original(case):
    """Denoising queries from the recorded noise, matches, every loss, the gradient of every parameter."""
    model = Model(case)
    if model.detector.denoising is not None:
        model.detector.denoising.denoise = Replayed(case)
    targets = model.targets
    outputs = model.outputs(targets)
    denoising, matching = outputs.split()
    check(case, "output/pred_logits", matching.logits)
    check(case, "output/pred_boxes", matching.boxes)
    if "dn_output/pred_logits" in case:
        check(case, "dn_output/pred_logits", denoising.logits)
        check(case, "dn_output/pred_boxes", denoising.boxes)
    stacked = stacked_predictions(matching, targets)
    matches = model.assigner.match(stacked, targets.repeat(len(matching.logits)))
    check_matches(case, matches, len(matching.logits), len(targets.boxes))
    losses = model.detector.bbox_head.loss(outputs, targets)
    if case.config.get("contrastive"):
        losses |= original_box_losses(model, denoising, outputs.denoising.groups, targets)
    losses = weighted(case, losses, model.assigner, len(matching.logits))
    check_losses(case, losses, len(matching.logits))
    sum(losses.values()).backward()
    check_gradients(case, model)


@pytest.mark.parametrize("case", EVALUATED)
def test_losses_of_an_evaluation_equal_the_original(case):
    """The original criterion, run on predictions made without denoising."""
    model = Model(case)
    layers = len(model.detector.decoder.layers)
    with torch.no_grad():
        losses = model.detector.bbox_head.loss(model.outputs(), model.targets)
    check_losses(case, weighted(case, losses, model.assigner, layers), layers)


@pytest.mark.parametrize("case", EVALUATED)
def test_detections_equal_the_original(case):
    """Scores, labels and boxes in the original order."""
    model = Model(case)
    with torch.no_grad():
        outputs = model.outputs()
    check_detections(case, model.detector, outputs)


def original_box_losses(model, denoising, groups, targets):
    """Box losses of the denoising part over the pairs that the original takes for positives."""
    layers = len(denoising.logits)
    pairs = box_pairs_of_the_original(targets.mask.sum(1).tolist(), groups, layers)
    predictions, repeated = stacked_predictions(denoising, targets), targets.repeat(layers)
    terms = model.assigner.loss(predictions, repeated, pairs)
    named_terms = named(terms, [f"_dn{name}" for name in layer_names(layers)])
    return {name: value for name, value in named_terms.items() if "cls" not in name}

"""Every recorded system of the DETR family: outputs, matches, losses and gradients of a forward and backward pass."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.detr import Model, our_loss, scenarios
from support.noise import Replayed, box_pairs_of_the_original

from detassign.heads.query import last_predictions, layer_names, named, stacked_predictions

EVALUATED = scenarios("eval_*")
TRAINED = scenarios("train_*")


def parameters(cases):
    if not cases:
        return [pytest.param(None, marks=pytest.mark.skip(reason="no recorded DETR models here"), id="missing")]
    return [pytest.param(case, id=f"{case.path.parent.name}-{case.name}") for case in cases]


def check(case, key, value, tolerance=None):
    entry = case.sidecar["recommended"][tolerance or key]
    np.testing.assert_allclose(
        value.detach().numpy(), case.arrays[key], atol=entry["atol"], rtol=entry["rtol"], err_msg=key
    )


@pytest.mark.parametrize("case", parameters(EVALUATED))
def test_outputs_of_all_layers_equal_the_original(case):
    """In evaluation mode, padded and not."""
    with torch.no_grad():
        outputs = Model(case).outputs()
    check(case, "output/pred_logits", outputs.logits)
    check(case, "output/pred_boxes", outputs.boxes)
    for kind in ("interm", "enc"):
        if f"output/{kind}/pred_logits" in case:
            check(case, f"output/{kind}/pred_logits", outputs.encoder_logits)
            check(case, f"output/{kind}/pred_boxes", outputs.encoder_boxes)


@pytest.mark.parametrize("case", parameters(TRAINED))
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
    check_matches(case, model, matching, targets)
    losses = model.detector.bbox_head.loss(outputs, targets)
    if case.path.parent.name == "dn_dab_dino_deformable_detr":
        losses |= original_box_losses(model, denoising, outputs.denoising.groups, targets)
    check_losses(case, losses, len(matching.logits))
    sum(losses.values()).backward()
    check_gradients(case, model)


@pytest.mark.parametrize("case", parameters(EVALUATED))
def test_losses_of_an_evaluation_equal_the_original(case):
    """The original criterion, run on predictions made without denoising."""
    model = Model(case)
    with torch.no_grad():
        losses = model.detector.bbox_head.loss(model.outputs(), model.targets)
    check_losses(case, losses, len(model.detector.decoder.layers))


@pytest.mark.parametrize("case", parameters(EVALUATED))
def test_detections_equal_the_original(case):
    """Scores, labels and boxes in the original order."""
    model = Model(case)
    with torch.no_grad():
        outputs = model.outputs()
    sizes = case.tensor("input/target_sizes").flip(-1).float()
    predictions = last_predictions(outputs, sizes)
    scores, _ = model.detector.bbox_head.scores(predictions)
    for image in range(len(sizes)):
        count = len(case.arrays[f"postprocess/{image}/scores"])
        settings = replace(model.detector.post_process, per_level=count, max_per_image=count)
        found = settings(scores, None, predictions, image, (1, 1))
        order = slice(None)
        if settings.one_per_sample:  # the original leaves DETR's detections in the order of its queries
            order = np.argsort(-case.arrays[f"postprocess/{image}/scores"], kind="stable")
        for name, value in (("scores", found.scores), ("labels", found.labels), ("boxes", found.boxes)):
            entry = case.sidecar["recommended"].get(f"postprocess/{name}", {"atol": 0, "rtol": 0})
            recorded = case.arrays[f"postprocess/{image}/{name}"][order]
            np.testing.assert_allclose(value, recorded, atol=entry["atol"], rtol=entry["rtol"], err_msg=name)


def original_box_losses(model, denoising, groups, targets):
    """Box losses of the denoising part over the pairs that the original takes for positives."""
    layers = len(denoising.logits)
    pairs = box_pairs_of_the_original(targets.mask.sum(1).tolist(), groups, layers)
    predictions, repeated = stacked_predictions(denoising, targets), targets.repeat(layers)
    terms = model.detector.bbox_head.assigner.loss(predictions, repeated, pairs)
    named_terms = named(terms, [f"_dn{name}" for name in layer_names(layers)])
    return {name: value for name, value in named_terms.items() if "cls" not in name}


def check_matches(case, model, matching, targets):
    """The recorded pairs of every layer, of the encoder too."""
    assigner, images = model.detector.bbox_head.assigner, len(targets.boxes)
    pairs = assigner.match(stacked_predictions(matching, targets), targets.repeat(len(matching.logits)))
    names = [*(f"aux_{layer}" for layer in range(len(matching.logits) - 1)), "last"]
    for layer, name in enumerate(names):
        for image in range(images):
            here = pairs.image == layer * images + image
            check_pairs(case, f"match/{name}/{image}", pairs.sample[here], pairs.target[here])


def check_pairs(case, key, sample, target):
    recorded = case.arrays[key]
    by_sample = recorded[:, np.argsort(recorded[0], kind="stable")]
    ours = np.stack([sample.numpy(), target.numpy()])
    np.testing.assert_array_equal(ours[:, np.argsort(ours[0], kind="stable")], by_sample, err_msg=key)


def check_losses(case, losses, layers):
    """Every weighted entry by its official name, and nothing besides."""
    entry, seen = case.sidecar["recommended"]["loss"], set()
    for official in (key.removeprefix("weight/") for key in case.arrays if key.startswith("weight/")):
        name = our_loss(official, layers)
        if f"loss/{official}" not in case or name not in losses:
            assert case.arrays.get(f"loss/{official}", 0) == 0, official  # denoising is off in evaluation
            continue
        weight = case.arrays[f"weight/{official}"]
        wanted = weight * case.arrays[f"loss/{official}"]
        tolerance = {"atol": weight * entry["atol"], "rtol": entry["rtol"]}
        np.testing.assert_allclose(losses[name].detach(), wanted, **tolerance, err_msg=official)
        seen.add(name)
    assert seen == set(losses)
    total = case.sidecar["recommended"]["loss_total"]
    np.testing.assert_allclose(
        sum(losses.values()).detach(), case.arrays["loss_total"], atol=total["atol"], rtol=total["rtol"]
    )


def check_gradients(case, model):
    """The norm of every parameter's gradient, and the gradient itself where it is recorded."""
    for kind, change in (("grad_norm/", lambda gradient: gradient.norm()), ("grad/", lambda gradient: gradient)):
        entry = case.sidecar["recommended"][kind.strip("/")]
        for key in (key for key in case.arrays if key.startswith(kind)):
            gradients = [parameter.grad for parameter in model.parameter(key.removeprefix(kind))]
            wanted = case.arrays[key]
            ours = change(torch.cat(gradients, -1)).numpy()
            if wanted.shape != ours.shape:
                ours = ours[: len(wanted)]
            bound = entry["atol"] + entry["rtol"] * np.abs(wanted).max(initial=0)
            assert np.abs(ours - wanted).max(initial=0) <= bound, key

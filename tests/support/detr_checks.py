"""What a recorded scenario of a DETR model says of a pass through it, at the sidecar's tolerances."""

import re
from dataclasses import replace

import numpy as np
import torch
from support.criterion import coefficients
from support.detr import our_loss

from detassign.heads.query import last_predictions


def check(case, key, value, tolerance=None):
    """A value is the array under a key."""
    entry = case.sidecar["recommended"][tolerance or key]
    value, recorded = value.detach().numpy(), case.arrays[key]
    assert value.shape == recorded.shape, f"{key}: {value.shape}, recorded {recorded.shape}"
    np.testing.assert_allclose(value, recorded, atol=entry["atol"], rtol=entry["rtol"], err_msg=key)


def check_matches(case, matches, layers, images):
    """The pairs of every decoder layer, and of the encoder's chosen tokens where they are one more group."""
    names = [*(f"aux_{layer}" for layer in range(layers - 1)), "last"]
    if bool((matches.image >= layers * images).any()):
        names.append("interm")
    for group, name in enumerate(names):
        for image in range(images):
            here = matches.image == group * images + image
            check_pairs(case, f"match/{name}/{image}", matches.sample[here], matches.target[here])


def check_pairs(case, key, sample, target):
    recorded = case.arrays[key]
    by_sample = recorded[:, np.argsort(recorded[0], kind="stable")]
    ours = np.stack([sample.numpy(), target.numpy()])
    np.testing.assert_array_equal(ours[:, np.argsort(ours[0], kind="stable")], by_sample, err_msg=key)


def names_of(case, layers):
    """Our name, or None, of every official loss that has a weight."""
    official = [key.removeprefix("weight/") for key in case.arrays if key.startswith("weight/")]
    return {name: our_loss(name, layers) for name in official}


def weighted(case, losses, assigner, layers):
    """Our losses with the weights of the recorded sum in the place of the assigner's own."""
    own, official = coefficients(assigner), {ours: name for name, ours in names_of(case, layers).items()}
    weights = {name: float(case.arrays[f"weight/{official[name]}"]) for name in losses}
    return {name: value * weights[name] / own[re.match("loss_[^_]+", name)[0]] for name, value in losses.items()}


def check_losses(case, losses, layers):
    """Every weighted entry by its official name, and nothing besides."""
    entry, seen = case.sidecar["recommended"]["loss"], set()
    for official, name in names_of(case, layers).items():
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
        for key in (key for key in case.arrays if key.startswith(kind)):
            entry = case.sidecar["recommended"][kind.strip("/")]
            gradients = [parameter.grad for parameter in model.parameter(key.removeprefix(kind))]
            wanted = case.arrays[key]
            ours = change(torch.cat(gradients, -1)).numpy()
            assert wanted.shape == ours.shape, key
            bound = entry["atol"] + entry["rtol"] * np.abs(wanted).max(initial=0)
            assert np.abs(ours - wanted).max(initial=0) <= bound, key


def post_process_of(case, detector, count):
    """The detector's settings, taking as many as were recorded; before NMS as many as the config says."""
    threshold = case.config.get("nms_iou_threshold", -1)
    if threshold <= 0:
        return replace(detector.post_process, per_level=count, max_per_image=count)
    return replace(detector.post_process, nms_iou=threshold, class_agnostic=True)


def check_detections(case, detector, outputs):
    """Scores, labels and boxes; DETR's, which were recorded by query, sorted by score."""
    sizes = case.tensor("input/target_sizes").flip(-1).float()
    predictions = last_predictions(outputs, sizes)
    scores, _ = detector.bbox_head.scores(predictions)
    for image in range(len(sizes)):
        recorded = {name: case.arrays[f"postprocess/{image}/{name}"] for name in ("scores", "labels", "boxes")}
        settings = post_process_of(case, detector, len(recorded["scores"]))
        found = settings(scores, None, predictions, image, (1, 1))
        order = np.argsort(-recorded["scores"], kind="stable") if settings.one_per_sample else slice(None)
        for name, value in recorded.items():
            entry = case.sidecar["recommended"].get(f"postprocess/{name}", {"atol": 0, "rtol": 0})
            np.testing.assert_allclose(
                getattr(found, name), value[order], atol=entry["atol"], rtol=entry["rtol"], err_msg=name
            )

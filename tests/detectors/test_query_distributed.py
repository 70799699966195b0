"""Two processes, one of them without any object, learn what one process learns from the joint batch."""

from dataclasses import replace
from functools import partial

import torch
from support.distributed import gradients_of_ranks
from support.query import SMALL, batch, detector, total

EXTRA = {
    "groups": {"k": 2},
    "branch": {"queries": 100, "repeat": 2},
    "path": {},
    "mixed": {"hidden": 8},
    "collaborative": {"norm_groups": 4, "prior_scale": 2.0},
}
FAMILIES = ("detr", "dn_detr", "dino_4scale", "deformable_detr_two_stage")
ASSIGNERS = {
    "hungarian": {"type": "hungarian"},
    "dw": {"type": "dw", "weighting": {"iou_low": 0.1}},  # anchors of an auxiliary head overlap objects by 0.4
    "atss": {"type": "atss"},
}


def noiseless(family, **choices):
    """A detector whose denoising draws nothing, so that one process and two see the same."""
    model = detector(family, "dn", **choices)
    model.denoising.denoise.label_noise = model.denoising.denoise.box_noise = 0.0
    return model.double()


def searching(assigner, **extra):
    """A detector whose queries, nearly as many as tokens, start near every object, and whose boxes move a little already."""
    spec = {**ASSIGNERS[assigner], "denoising": "hungarian"}  # DW punishes all copies or none where they are alike
    model = noiseless("dino_4scale", size=replace(SMALL, queries=100), assigner=spec, extra=extra)
    for box in model.bbox_head.boxes:
        torch.nn.init.normal_(box.layers[-1].weight, std=0.01)
    return model


def full_and_empty():
    """An image of twelve objects about as large as proposals where they lie, and one without any.

    Sums of weights are then above the floors of their normalisers in each process's share too, where two processes differ
    from one by design.
    """
    images, samples = batch(12, 0)
    height, width = images.shape[-2:]
    coarse = [((x + 0.5) / 3, (y + 0.5) / 2, 0.2) for x in range(3) for y in range(2)]
    fine = [((x + 0.5) / 6, (y + 0.5) / 4, 0.1) for x in range(1, 4) for y in range(1, 3)]
    x, y, side = torch.tensor(coarse + fine).T
    centers, halves = torch.stack([x, y], 1) + 0.004, 0.55 * side[:, None]
    samples[0].gt_instances.bboxes = torch.cat([centers - halves, centers + halves], 1) * torch.tensor(
        [width, height] * 2
    )
    return images, samples


def test_gradients_of_two_processes_equal_those_of_the_joint_batch(tmp_path):
    """Without looking for unused parameters; sums are divided by what all processes have."""
    check_equal({family: partial(noiseless, family) for family in FAMILIES}, batch(3, 0), tmp_path)


def test_so_do_those_of_everything_that_training_adds_under_any_matching(tmp_path):
    """Each kind by itself with matchings of every cardinality, and all kinds together."""
    alone = {
        f"{assigner} {name}": partial(searching, assigner, **{name: arguments})
        for assigner in ASSIGNERS
        for name, arguments in EXTRA.items()
    }
    check_equal({**alone, "together": partial(searching, "hungarian", **EXTRA)}, full_and_empty(), tmp_path)


def check_equal(builds, joint_batch, tmp_path):
    images, samples = joint_batch
    images = images.double()
    parts = [(images[i : i + 1], samples[i : i + 1]) for i in range(2)]
    averaged = gradients_of_ranks(builds, parts, tmp_path)
    for key, build in builds.items():
        joint = build()
        total(joint.loss(images, samples)).backward()
        for name, parameter in joint.named_parameters():
            if not parameter.requires_grad:
                continue
            scale = parameter.grad.abs().max().clamp(min=1e-3)
            ours, theirs = averaged[key][name] / scale, parameter.grad / scale
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=2e-4, msg=lambda m, at=(key, name): f"{at}: {m}")

"""The focal losses and generalised IoUs of the DETR family's six repositories."""

import numpy as np
import pytest
import torch
from support.golden import cases, named_cases
from support.queries import eps_in

from detassign.assigners import BOX_LOSSES, Assigner, Matches, Predictions, Targets, focal
from detassign.assigners.boxes import relative_giou


@pytest.mark.parametrize(("case", "name"), named_cases("detr/components", "focal_loss_*"))
def test_focal_loss_equals_the_original(case, name):
    """Their targets are any zeros and ones: every one is a pair with an object of its own."""
    settings, tolerance = case.sidecar["cases"][name], case.sidecar["recommended"]["all"]
    logits = case.leaf(f"{name}/input")
    image, sample, label = case.tensor(f"{name}/target").nonzero(as_tuple=True)
    pairs = len(image)
    images, samples = logits.shape[:2]
    labels = label.expand(images, pairs)
    targets = Targets(torch.zeros(images, pairs, 4), labels, torch.ones(images, pairs, dtype=torch.bool))
    matches = Matches(image, sample, torch.arange(pairs), torch.ones(pairs))
    alpha = settings["alpha"] if settings["alpha"] >= 0 else None
    assigner = Assigner("hungarian", focal(alpha=alpha, gamma=settings["gamma"]))
    losses = assigner.loss(Predictions(logits, torch.zeros(images, samples, 4)), targets, matches)
    loss = (losses["loss_cls_pos"] + losses["loss_cls_neg"]) * pairs / samples / settings["num_boxes"]
    np.testing.assert_allclose(loss.item(), case.arrays[f"{name}/loss"], **tolerance)
    loss.backward()
    np.testing.assert_allclose(logits.grad, case.arrays[f"{name}/grad"], **tolerance)


@pytest.mark.parametrize("case", cases("detr/components", "giou_*"))
def test_giou_equals_the_original_wherever_that_is_a_number(case):
    tolerance = case.sidecar["recommended"]["iou/giou"]
    special = case.tensor("special/boxes_xyxy")
    for name, boxes, others in (
        ("random", case.tensor("random/boxes1_xyxy"), case.tensor("random/boxes2_xyxy")),
        ("special", special, special),
    ):
        ours, recorded = relative_giou(boxes[:, None], others, eps_in(case.sidecar["eps"])), case.tensor(f"{name}/giou")
        assert ours.isfinite().all()
        known = ~recorded.isnan()
        np.testing.assert_allclose(ours[known], recorded[known], **tolerance)


@pytest.mark.parametrize("case", cases("detr/components", "giou_*"))
def test_the_gradient_of_the_giou_loss_equals_the_original(case):
    tolerance = case.sidecar["recommended"]["iou/giou"]
    wanted = case.tensor("grad/boxes1_cxcywh")
    leaf = case.tensor("random/boxes1_cxcywh")[: len(wanted)].requires_grad_()
    boxes = torch.cat([leaf[:, :2] - leaf[:, 2:] / 2, leaf[:, :2] + leaf[:, 2:] / 2], -1)
    loss = BOX_LOSSES.build({"type": "relative_giou", "eps": eps_in(case.sidecar["eps"])})
    total = loss(boxes, case.tensor("random/boxes2_xyxy")[: len(wanted)]).sum()
    np.testing.assert_allclose(total.item(), case.arrays["grad/loss_sum"], **tolerance)
    total.backward()
    np.testing.assert_allclose(leaf.grad, wanted, atol=1e-5, rtol=1e-4)

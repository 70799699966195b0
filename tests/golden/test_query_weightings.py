"""The class losses of the DETR family's later members, as their own code recorded them."""

import pytest
from support.golden import cases
from support.query_assign import RT_DETR, Output

from detassign.assigners import Assigner, Hungarian, varifocal


def outputs(case, *kinds):
    """The outputs of these kinds that a case has, the decoder's layers first."""
    return [Output(case, kind) for kind in ("", *kinds) if f"input/{kind}/logits".replace("//", "/") in case]


@pytest.mark.parametrize("case", cases("query_assign", "rt_detr_*"))
def test_varifocal_equals_rt_detrs(case):
    weights = case.config["coefficients"]
    weighting = varifocal(case.config["alpha"], case.config["gamma"], "one", 1.0, detach=True, count="targets")
    box_loss = {"relative_l1": weights["loss_bbox"], "relative_giou": weights["loss_giou"]}
    assigner = Assigner(Hungarian(), weighting, box_loss=box_loss)
    total, found = 0, outputs(case, "enc", "dn")
    for output in found:
        matches = output.denoising_pairs() if output.kind == "dn" else None
        assignment, losses = assigner.assign_and_loss(output.predictions, output.targets, matches)
        if output.kind != "dn":
            output.check_pairs(assignment.matches)
            output.check_weights(assignment)
        output.check_norms(assignment, "norm/dn" if output.kind == "dn" else "norm/match")
        output.check_loss("loss_vfl", losses["loss_cls_pos"] + losses["loss_cls_neg"], RT_DETR)
        output.check_loss("loss_bbox", losses["loss_l1"], RT_DETR)
        output.check_loss("loss_giou", losses["loss_giou"], RT_DETR)
        total = total + sum(losses.values()).sum()
    total.backward()
    case.check("loss_total", total)
    for output in found:
        output.check_gradients()

"""The Hungarian matchers of DETR, Conditional DETR, Deformable DETR and DINO: cost matrices and pairs."""

import numpy as np
import pytest
import torch
from support.golden import named_cases
from support.queries import eps_in, noted, query_predictions, query_targets

from detassign.assigners import Hungarian


def costs_of(case, settings):
    (kind,) = (kind for kind in ("softmax", "focal") if kind in case.name)
    (giou,) = (note for note in case.sidecar["notes"] if note.startswith("giou"))
    return {
        kind: {"weight": settings["cost_class"], **noted(case, "alpha", "gamma")},
        "l1": settings["cost_bbox"],
        "giou": {"weight": settings["cost_giou"], "eps": eps_in(giou)},
    }


@pytest.mark.parametrize(("case", "name"), named_cases("detr/components", "matcher_*"))
def test_costs_and_pairs_equal_the_original(case, name):
    settings = case.sidecar["cases"][name]
    predictions = query_predictions(case, f"{name}/pred_logits", f"{name}/pred_boxes")
    targets = query_targets(case, f"{name}/target", len(settings["gts"]))
    matching = Hungarian(costs_of(case, settings))
    tolerance = case.sidecar["recommended"]["cost"]
    cost, matches = matching.cost(predictions, targets), matching(predictions, targets)
    for image, count in enumerate(settings["gts"]):
        if count:
            recorded = case.arrays[f"{name}/cost/{image}"]
            np.testing.assert_allclose(cost[image, :, :count].numpy(), recorded, **tolerance)
        here = matches.image == image
        pairs = np.stack([matches.sample[here].numpy(), matches.target[here].numpy()])
        if settings["indices_stable"]:
            np.testing.assert_array_equal(pairs[0], case.arrays[f"{name}/index_pred/{image}"])
            np.testing.assert_array_equal(pairs[1], case.arrays[f"{name}/index_gt/{image}"])
        total = cost[image][torch.from_numpy(pairs[0]), torch.from_numpy(pairs[1])].double().sum()
        np.testing.assert_allclose(total, case.arrays[f"{name}/assigned_cost/{image}"], **tolerance)

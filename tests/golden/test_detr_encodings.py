"""Position encodings and the inverse sigmoid of the DETR family."""

import re

import numpy as np
import pytest
from support.golden import cases, keyed_cases, named_cases

from detassign.detectors.transformer.position import grid_encoding, reference_encoding
from detassign.heads.reference import inverse_sigmoid

HALF_CELL = ("defdetr/", "dab_deformable_detr/", "dn_dab_deformable_detr/")  # these number the cells' centres
ENCODED = r"(?:.*/)?(pos[24])_d(\d+)"
PROPOSALS = r"(?:.*/)?proposal_pos_embed_d(\d+)"


def named_encodings(pattern):
    """Every recorded encoding whose key is of a form, as (file, key)."""
    return keyed_cases("detr/components", "query_sine_embedding_*", f"({pattern})")


@pytest.mark.parametrize(("case", "name"), named_cases("detr/components", "position_embedding_*"))
def test_cells_of_a_map_are_encoded_as_by_the_original(case, name):
    """Where the image is; what lies beyond it holds no meaning."""
    settings = case.sidecar["cases"][name]
    if not settings["normalize"]:
        pytest.skip("cells are always numbered as shares of the image: no published model leaves them unscaled")
    temperatures = {settings[key] for key in ("temperature", "temperatureH", "temperatureW") if key in settings}
    if len(temperatures) > 1:
        pytest.skip("rows and columns share one temperature: no published model has two different ones")
    valid = ~case.tensor("mask")
    offset = -0.5 if name.startswith(HALF_CELL) else 0.0
    channels = 2 * settings["num_pos_feats"]
    encoded = grid_encoding(valid.any(2), valid.any(1), channels, float(temperatures.pop()), offset)
    recorded = case.tensor(name).permute(0, 2, 3, 1)
    np.testing.assert_allclose(encoded[valid].numpy(), recorded[valid].numpy(), **case.sidecar["recommended"]["all"])


@pytest.mark.parametrize(("case", "key"), named_encodings(ENCODED))
def test_points_and_boxes_are_encoded_as_by_the_original(case, key):
    """Blocks in the order y, x, w, h."""
    kind, channels = re.fullmatch(ENCODED, key).groups()
    encoded = reference_encoding(case.tensor(kind), int(channels) // 2)
    np.testing.assert_allclose(encoded.numpy(), case.arrays[key], **case.sidecar["recommended"]["all"])


@pytest.mark.parametrize(("case", "key"), named_encodings(PROPOSALS))
def test_proposals_are_encoded_as_by_the_original(case, key):
    """Blocks in the order x, y, w, h."""
    (channels,) = re.fullmatch(PROPOSALS, key).groups()
    encoded = reference_encoding(case.tensor("proposals_unsigmoid").sigmoid(), int(channels) // 2, order=(0, 1, 2, 3))
    np.testing.assert_allclose(encoded.numpy(), case.arrays[key], **case.sidecar["recommended"]["all"])


@pytest.mark.parametrize("case", cases("detr/components", "inverse_sigmoid_*"))
def test_inverse_sigmoid_and_its_gradient_equal_the_original(case):
    """With each family's own epsilon."""
    share = case.leaf("x")
    logit = inverse_sigmoid(share, case.sidecar["eps"])
    logit.sum().backward()
    tolerance = case.sidecar["recommended"]["y"]
    np.testing.assert_allclose(logit.detach().numpy(), case.arrays["y"], **tolerance)
    np.testing.assert_allclose(share.grad.numpy(), case.arrays["grad"], **tolerance)

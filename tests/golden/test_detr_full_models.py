"""The papers' models at full size, from the image on: features, predictions, pairs, losses, gradients, detections.

Left out is the recorded mean of the encoder's tokens: it counts tokens outside their images, which hold no meaning here.
"""

import re

import numpy as np
import pytest
from support.detr_checks import check, check_detections, check_gradients, check_losses, check_matches
from support.full import FullModel, full_models, scenario_names
from support.golden import golden_folder, missing

MISSING = missing(f"no full-size models in {golden_folder() / 'detr'}")
MODELS = [pytest.param(folder, id=folder.name) for folder in full_models()] or MISSING
SCENARIOS = scenario_names() or MISSING


@pytest.fixture(scope="module", params=MODELS)
def model(request):
    """One model at a time: pytest runs all tests of one before it makes the next."""
    return FullModel(request.param)


@pytest.fixture(params=SCENARIOS)
def run(request, model):
    if request.param not in model.cases:
        pytest.skip(f"{model.name} was not recorded in {request.param}")
    return model.runs[request.param]


def check_predictions(case, prefix, logits, boxes):
    """Logits of the first queries, the mean over classes of all, and boxes, as far as recorded."""
    values = {"pred_logits_class_mean": logits.mean(-1), "pred_boxes": boxes}
    firsts = [re.fullmatch(rf"{prefix}/(pred_logits_first(\d+))", key) for key in case.arrays]
    values |= {name: logits[..., : int(count), :] for name, count in (found.groups() for found in firsts if found)}
    recorded = {name: value for name, value in values.items() if f"{prefix}/{name}" in case}
    assert recorded
    for name, value in recorded.items():
        check(case, f"{prefix}/{name}", value)


def test_every_tensor_of_the_checkpoint_is_used(model):
    """Nothing unexplained; what is missing are counters that frozen batch norm does not have."""
    assert not model.problems.unexpected_keys
    assert [key for key in model.problems.missing_keys if not key.endswith(".num_batches_tracked")] == []


def test_projected_features_equal_the_original(run):
    """Mean and standard deviation of every channel."""
    several = "inter/transformer_in/src/0_channel_mean" in run.case
    for index, level in enumerate(run.levels):
        prefix = f"inter/transformer_in/src{f'/{index}' if several else ''}_channel"
        check(run.case, f"{prefix}_mean", level.mean((2, 3)))
        check(run.case, f"{prefix}_std", level.std((2, 3)))


def test_predictions_equal_the_original(run):
    """Of all decoder layers, of the encoder, and of denoising queries."""
    denoising, matching = run.outputs.split()
    check_predictions(run.case, "output", matching.logits, matching.boxes)
    for kind in ("interm", "enc"):
        if f"output/{kind}/pred_logits_class_mean" in run.case:
            check_predictions(run.case, f"output/{kind}", matching.encoder.logits[0], matching.encoder.boxes[0])
    if "dn_output/pred_boxes" in run.case:
        check_predictions(run.case, "dn_output", denoising.logits, denoising.boxes)


def test_chosen_tokens_and_first_references_equal_the_original(run):
    """The two stages' top-k is exact."""
    if "inter/topk_proposals" in run.case:
        np.testing.assert_array_equal(run.queries.proposals.chosen, run.case.arrays["inter/topk_proposals"])
    if "inter/init_reference" in run.case and run.outputs.denoising is None:
        anchors = run.queries.anchors.sigmoid()  # learned ones are recorded once, without the batch
        recorded_once = run.case.arrays["inter/init_reference"].ndim == 2
        check(run.case, "inter/init_reference", anchors[0] if recorded_once else anchors)


def test_pairs_equal_the_original(run):
    """Of all decoder layers, and of the encoder's chosen tokens."""
    check_matches(run.case, run.assignment.matches, *run.outputs.logits.shape[:2])


def test_losses_equal_the_original(run):
    """Every entry, and their weighted sum."""
    check_losses(run.case, run.losses, len(run.outputs.logits))


def test_gradient_norms_equal_the_original(model):
    """Of every parameter that was recorded."""
    (run,) = model.of_mode("train")  # the gradients of a second one would be added
    check_gradients(run.case, model)


def test_detections_equal_the_original(model):
    """DETR's, which come by query, are sorted by score first."""
    for run in model.of_mode("eval"):
        check_detections(run.case, model.detector, run.outputs)

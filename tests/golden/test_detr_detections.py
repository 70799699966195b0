"""From query predictions to detections as each paper's code does it."""

from dataclasses import replace

import numpy as np
import pytest
from support.golden import cases

from detassign.assigners import Predictions, build
from detassign.configs.detectors import query_parts as parts
from detassign.engine.config import plain
from detassign.heads import PostProcess
from detassign.heads.query import pixel_boxes


def variants():
    """Every recorded way of choosing detections, as (file, name)."""
    found = [parameter.values[0] for parameter in cases("detr/components", "postprocess_*")]
    names = [(case, name) for case in found if case for name in case.sidecar["cases"]]
    return [pytest.param(case, name, id=f"{case.name}-{name}") for case, name in names]


def settings_of(case, name):
    """The fragments' settings; Deformable and Conditional DETR always take 100."""
    chosen = case.sidecar["cases"][name]
    size = parts.Size(select=chosen.get("num_select", 100))
    described = plain(parts.post_process(size, one_per_query=case.name == "postprocess_detr"))
    process = PostProcess(**{key: value for key, value in described.items() if key != "type"})
    process = process.following("one-to-one", overlap=0.0)
    threshold = chosen.get("nms_iou_threshold")
    return process if threshold is None else replace(process, nms_iou=threshold, class_agnostic=True)


@pytest.mark.parametrize(("case", "name"), variants())
def test_detections_equal_the_original(case, name):
    """Scores, labels and unclipped boxes; DETR's, which come by query, are sorted by score first.

    DINO's cxcywh and xywh variants are output formats, which there is only one of here.
    """
    sizes = case.tensor("target_sizes_hw").flip(-1).float()
    predictions = Predictions(case.tensor("pred_logits"), pixel_boxes(case.tensor("pred_boxes"), sizes))
    softmax = case.name == "postprocess_detr"  # with a background column
    columns = predictions.logits.shape[-1]
    assigner = build("detr" if softmax else "hungarian", num_classes=columns - softmax)
    scores = assigner.score(predictions).probability
    for image, (width, height) in enumerate(sizes.int().tolist()):
        found = settings_of(case, name)(scores, None, predictions, image, (height, width))
        recorded = {key: case.arrays[f"{name}/{image}/{key}"] for key in ("scores", "labels", "boxes")}
        order = np.argsort(-recorded["scores"], kind="stable")
        np.testing.assert_array_equal(found.labels.numpy(), recorded["labels"][order])
        for key in ("scores", "boxes"):
            value, tolerance = getattr(found, key).numpy(), case.sidecar["recommended"][key]
            np.testing.assert_allclose(value, recorded[key][order], **tolerance, err_msg=key)

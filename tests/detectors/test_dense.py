"""The dense detector: training and prediction over mmdet's data samples."""

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from support.dense_detector import dense_detector

from detassign.assigners import ASSIGNERS
from detassign.detectors.targets import targets_on
from detassign.engine.hooks import AssignmentStatistics


def samples(boxes_of_each):
    result = []
    for boxes in boxes_of_each:
        sample = DetDataSample(metainfo={"img_shape": (32, 32), "scale_factor": (0.5, 0.5)})
        boxes = torch.tensor(boxes, dtype=torch.float).reshape(-1, 4)
        sample.gt_instances = InstanceData(bboxes=boxes, labels=torch.zeros(len(boxes), dtype=torch.long))
        result.append(sample)
    return result


def total(losses):
    return sum(value for name, value in losses.items() if name.startswith("loss"))


@pytest.mark.parametrize("assigner", list(ASSIGNERS))
@pytest.mark.parametrize("boxes", [[[[2, 2, 28, 28]], []], [[], []]], ids=["one_empty", "all_empty"])
def test_every_parameter_gets_a_finite_gradient_under_every_assigner(assigner, boxes):
    model = dense_detector(assigner)
    losses = model.loss(torch.rand(2, 3, 32, 32), samples(boxes))
    total(losses).backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name


def test_loss_falls_on_one_batch():
    model = dense_detector()
    images, batch = torch.rand(2, 3, 32, 32), samples([[[2, 2, 28, 28]], [[8, 8, 30, 20]]])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    history = []
    for _ in range(30):
        loss = total(model.loss(images, batch))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    assert history[-1] < 0.7 * history[0]


def test_the_observer_sees_the_assignment_of_a_training_step():
    model = dense_detector()
    model.observer = watched = AssignmentStatistics(every=2)
    for _ in range(3):
        model.loss(torch.rand(2, 3, 32, 32), samples([[[2, 2, 28, 28]], []]))
    assert watched.sums["steps"] == 2
    assert watched.sums["targets"] == 2
    summary = watched.summary()
    assert summary["positives_per_target"] > 1
    assert summary["assignment_seconds_per_step"] > 0


def test_predictions_are_in_pixels_of_the_original_image():
    model = dense_detector().eval()
    model.post_process = type(model.post_process)(score_threshold=0.0)
    images = torch.rand(1, 3, 32, 32)
    original = model.predict(images, samples([[]]), rescale=True)[0].pred_instances
    network = model.predict(images, samples([[]]), rescale=False)[0].pred_instances
    torch.testing.assert_close(original.bboxes, network.bboxes * 2)
    assert len(original.scores) > 0


def test_a_box_that_is_inside_out_is_refused_before_it_goes_to_the_device():
    batch = samples([[[2, 2, 28, 28]], [[2, 2, 8, 8], [20, 10, 5, 4]]])
    sentence = r"boxes: expected finite x1, .* got \[20.0, 10.0, 5.0, 4.0\] in image 1"
    with pytest.raises(ValueError, match=sentence):
        dense_detector().loss(torch.zeros(2, 3, 32, 32), batch)
    with pytest.raises(ValueError, match=sentence):
        targets_on(torch.device("meta"), batch, 2)


@pytest.mark.parametrize("assigner", ["yolov10", "yolo26"])
def test_the_head_with_one_sample_per_object_detects_without_nms(assigner):
    assert dense_detector(assigner).post_process.nms_iou is None
    assert dense_detector("tal_v8").post_process.nms_iou is not None

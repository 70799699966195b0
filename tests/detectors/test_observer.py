"""What an observer is given of a training step, under every assigner and in every family; and what looking costs on a GPU."""

import copy

import pytest
import torch
from support.dense_detector import dense_detector
from support.query import VARIANTS, batch, detector, total

from detassign.assigners import ASSIGNERS
from detassign.bench.stand_in import put_on, stand_in
from detassign.engine.hooks import AssignmentStatistics
from detassign.engine.telemetry import look_of


class Keeper:
    """Keeps every observation."""

    def __init__(self):
        self.seen = []

    def due(self):
        return True

    def __call__(self, observation):
        self.seen.append(observation)


def packed(*counts, scale=(2.0, 0.5)):
    """A batch as the loader hands it over, of images that were enlarged to twice their width and half their height."""
    images, samples = batch(*counts)
    for sample in samples:
        sample.set_metainfo({"scale_factor": scale})
    return {"inputs": [(image * 255).to(torch.uint8) for image in images], "data_samples": samples}


def observed(model, data):
    """The observation of a training step."""
    model.observer = keeper = Keeper()
    torch.manual_seed(1)
    prepared = model.data_preprocessor(copy.deepcopy(data), True)
    model.loss(prepared["inputs"], prepared["data_samples"])
    return keeper.seen[0]


def check(observation, data):
    """Areas are those of the stored images, and sums are finite and count every object once for every group."""
    predictions, targets = observation.asked()
    groups = predictions.groups or 1
    objects = sum(len(sample.gt_instances) for sample in data["data_samples"])
    assert targets.mask.sum() == groups * objects
    assert observation.assignment.pushes.shape[0] == len(predictions.logits) == len(targets.boxes)
    sides = targets.boxes[..., 2:] - targets.boxes[..., :2]
    torch.testing.assert_close(observation.stored_areas(targets), sides.prod(-1))  # 2 * 0.5
    return predictions


@pytest.mark.parametrize("assigner", ASSIGNERS)
def test_the_tally_of_every_assigner_on_a_dense_head(assigner):
    data, model = packed(3, 0, 2), dense_detector(assigner, 4)
    observation = observed(model, data)
    check(observation, data)
    found = look_of(model)(observation)
    assert all(value.isfinite().all() for value in found.values())
    assert found["targets"].sum() == found["class_targets"].sum() == 5
    assert found["pairs"].sum() == (observation.assignment.positive > 0).sum()
    assert found["weight"].sum() == pytest.approx(
        float(observation.assignment.positive.detach().double().sum()), rel=1e-5
    )
    assert found["strides"].tolist() == [8, 16]


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_tally_of_every_query_detector(variant):
    data, model = packed(3, 0, 2), detector(variant)
    observation = observed(model, data)
    predictions = check(observation, data)
    found = look_of(model)(observation)
    assert found["targets"].sum(0).tolist() == [5.0] * predictions.groups
    assert found["pairs"].sum(0).tolist() == [5.0] * predictions.groups  # one query each
    assert found["layers"] == predictions.final_group + 1 == 3


def test_without_denoising_and_gradient_a_query_detector_assigns_the_same():
    data, model = packed(3, 0, 2), detector("dino_4scale").eval()
    trained = observed(model, data).assignment
    prepared = model.data_preprocessor(copy.deepcopy(data), False)
    looked = model.assigned(prepared["inputs"], prepared["data_samples"]).assignment
    assert not looked.positive.requires_grad
    for name in ("image", "sample", "target"):
        assert getattr(looked.matches, name).tolist() == getattr(trained.matches, name).tolist()
    torch.testing.assert_close(looked.positive, trained.positive.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "make", [lambda: dense_detector("dw", 4), lambda: dense_detector("yolov10", 4), lambda: detector("dino_4scale")]
)
def test_a_step_that_is_looked_at_waits_for_the_clock_alone(make, monkeypatch):
    """As often as a step that is not, and twice to read the clock; on the stand-in that is counted by its calls."""
    clocks = []
    monkeypatch.setattr(torch.cuda, "synchronize", clocks.append)
    data, model = packed(3, 0, 2), make()
    waits = []
    with stand_in() as record:
        put_on(model)
        model.observer = watch = AssignmentStatistics(every=2, look=look_of(model))
        for _ in range(3):
            record.clear()
            clocks.clear()
            prepared = model.data_preprocessor(copy.deepcopy(data), True)
            total(model.loss(prepared["inputs"], prepared["data_samples"])).backward()
            waits.append((record.waits, len(clocks)))
        assert record.mixed == {}
        looked, passed, again = waits
        assert looked[0] == passed[0] == again[0]
        assert (looked[1], passed[1], again[1]) == (2, 0, 2)
        record.clear()
        watch.after_train_epoch(None)
        assert sum(record.waits.values()) == 1
    assert watch.of_epoch["steps"] == 2
    assert watch.summary()["positives_per_target"] >= 1

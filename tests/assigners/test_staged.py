import pytest
import torch
from support.random_batches import random_batch

from detassign.assigners import Progress, Staged, build, set_progress


def staged():
    return Staged({0.0: build("gfl", 3), 0.25: build("max_iou", 3), 0.5: build("hungarian", 3)})


@pytest.mark.parametrize(("share", "name"), [(0.0, "ATSS"), (0.2499, "ATSS"), (0.25, "MaxIoU"), (1.0, "Hungarian")])
def test_the_stage_is_that_of_the_share_that_is_done(share, name):
    assigner = staged()
    set_progress(assigner, share)
    assert type(assigner.matching).__name__ == name


def test_a_stage_assigns_as_its_assigner_does():
    for share, name in ((0.0, "gfl"), (0.5, "max_iou")):
        assigner = Staged({0.0: build("gfl", 3), 0.5: build("max_iou", 3)})
        set_progress(assigner, share)
        batch = random_batch(assigner)
        assert assigner.loss(*batch) == build(name, 3).loss(*batch)


def test_it_needs_what_any_stage_needs_and_ends_with_the_cardinality_of_the_last():
    assigner = Staged({0.0: build("max_iou", 3), 0.5: build("hungarian", 3)})
    assert assigner.needs == build("max_iou", 3).needs | build("hungarian", 3).needs
    assert assigner.cardinality == "one-to-one"


def test_a_checkpoint_knows_how_far_the_training_had_come():
    assigner, other = (Staged({0.0: build("max_iou", 3), 0.5: build("hungarian", 3)}) for _ in range(2))
    set_progress(assigner, 0.75)
    other.load_state_dict(assigner.state_dict())
    assert type(other.matching).__name__ == "Hungarian"


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ({}, "stages: expected shares of the training from 0 to below 1, got \\[\\]"),
        ({0.5: build("atss", 3)}, "got \\[0.5\\]"),
        ({0.0: build("atss", 3), 1.0: build("atss", 3)}, "got \\[0.0, 1.0\\]"),
        ({0.0: build("max_iou", 3), 0.5: build("detr", 3)}, "stages: expected one score for all, got Sigmoid, Softmax"),
        ({0.0: build("max_iou", 3), 0.5: build("fcos", 3)}, "stages: expected one branch for all"),
    ],
)
def test_stages_that_cannot_follow_one_another_are_refused(stages, message):
    with pytest.raises(ValueError, match=message):
        Staged(stages)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_is_between_nothing_and_all(share):
    with pytest.raises(ValueError, match="share: expected a number from 0 to 1"):
        set_progress(torch.nn.Sequential(Progress()), share)

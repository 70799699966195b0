from dataclasses import replace

import pytest
import torch
from support.random_batches import random_batch, random_predictions

from detassign.assigners import Predictions, TwoHeaded, build, set_progress


def two_headed(**options):
    return TwoHeaded(build("hungarian", 3), build("atss", 3), **options)


def two_batches():
    """Predictions of two heads and the targets of both."""
    one, targets = random_batch(build("atss", 3), 0)
    many = random_predictions(build("atss", 3), targets, seed=5)
    return replace(one, auxiliary=many), one, many, targets


def test_it_assigns_as_its_one_to_one_assigner_and_adds_the_losses_of_the_other():
    both, one, many, targets = two_batches()
    assignment, losses = two_headed().assign_and_loss(both, targets)
    wanted, own = build("hungarian", 3).assign_and_loss(one, targets)
    others = build("atss", 3).loss(many, targets)
    assert torch.equal(assignment.matches.sample, wanted.matches.sample)
    assert losses == own | {f"{name}_many": value for name, value in others.items()}
    assert two_headed().loss(both, targets) == losses


def test_of_one_head_alone_the_loss_is_that_of_the_one_to_one_assigner():
    _, one, _, targets = two_batches()
    assert two_headed(weights=(0.2, 0.8)).loss(one, targets) == build("hungarian", 3).loss(one, targets)


@pytest.mark.parametrize(("share", "weights"), [(0.0, (0.2, 0.8)), (0.5, (0.55, 0.45)), (1.0, (0.9, 0.1))])
def test_weights_move_evenly_with_the_training(share, weights):
    both, one, many, targets = two_batches()
    assigner = two_headed(weights=(0.2, 0.8), final_weights=(0.9, 0.1))
    set_progress(assigner, share)
    assert assigner.current_weights == pytest.approx(weights)
    losses = assigner.loss(both, targets)
    own, others = build("hungarian", 3).loss(one, targets), build("atss", 3).loss(many, targets)
    assert losses["loss_cls_neg"].item() == pytest.approx(weights[0] * own["loss_cls_neg"].item())
    assert losses["loss_box_many"].item() == pytest.approx(weights[1] * others["loss_box"].item())


def test_a_checkpoint_knows_how_far_the_weights_had_moved():
    assigner, other = (two_headed(weights=(0, 1), final_weights=(1, 0)) for _ in range(2))
    set_progress(assigner, 0.75)
    other.load_state_dict(assigner.state_dict())
    assert other.current_weights == (0.75, 0.25)


def test_it_says_of_itself_what_the_one_to_one_assigner_says():
    assigner, one = two_headed(), build("hungarian", 3)
    assert assigner.cardinality == "one-to-one"
    assert (assigner.needs, assigner.num_classes) == (one.needs, 3)
    assert type(assigner.matching) is type(one.matching)
    assert type(assigner.auxiliary.matching).__name__ == "ATSS"
    assert one.auxiliary is None
    assert all(text in repr(assigner) for text in ("final_weights=None", "one_to_one=", "one_to_many="))
    assert build(assigner, num_classes=3) is assigner


def test_the_other_head_may_have_other_samples():
    _, one, many, targets = two_batches()
    fewer = Predictions(many.logits[:, :64], many.boxes[:, :64], None, many.points[:64], many.strides[:64], (64,))
    losses = two_headed().loss(replace(one, auxiliary=fewer), targets)
    assert all(value.isfinite() for value in losses.values())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"weights": (1.0, -0.1)}, "weights: expected two numbers of at least 0, got"),
        ({"weights": (1.0,)}, "weights: expected two numbers"),
        ({"final_weights": (1.0, 2.0, 3.0)}, "final_weights: expected two numbers"),
    ],
)
def test_weights_that_are_none_are_refused(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        two_headed(**options)

import pytest
from support.random_batches import random_batch

from detassign.assigners import Assigner, AuxiliaryLoss, Centerness, build


def two():
    return build("poto", 3), Assigner("quality_atss", "focal", box_loss=None, num_classes=3)


def test_it_assigns_as_the_first_and_adds_the_losses_of_the_other():
    main, other = two()
    predictions, targets = random_batch(main, seed=1)
    assignment, losses = AuxiliaryLoss(main, other, weight=0.5).assign_and_loss(predictions, targets)
    wanted, own = main.assign_and_loss(predictions, targets)
    further = other.loss(predictions, targets)
    assert assignment.matches.sample.tolist() == wanted.matches.sample.tolist()
    assert losses == own | {f"{name}_aux": 0.5 * value for name, value in further.items()}
    assert set(further) == {"loss_cls_pos", "loss_cls_neg"}


def test_it_says_of_itself_what_the_first_says():
    main, other = two()
    both = AuxiliaryLoss(main, other)
    assert both.cardinality == "one-to-one"
    assert both.needs == main.needs | other.needs
    assert both.auxiliary is None
    both.branch = Centerness()
    assert main.branch is not None
    assert other.branch is None


def test_defcns_auxiliary_loss_is_of_the_class_score_alone():
    assigner = build("poto_aux", 3)
    predictions, targets = random_batch(assigner, seed=2)
    predictions.objectness.requires_grad_()
    predictions.logits.requires_grad_()
    losses = assigner.loss(predictions, targets)
    sum(value for name, value in losses.items() if name.endswith("_aux")).backward()
    assert predictions.objectness.grad is None
    assert predictions.logits.grad.count_nonzero() > 0


def test_a_weight_below_nothing_is_refused():
    with pytest.raises(ValueError, match="weight: expected a number of at least 0"):
        AuxiliaryLoss(*two(), weight=-1.0)

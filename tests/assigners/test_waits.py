import pytest

from detassign.assigners import MaxIoU, Split, Staged, TopK, TwoHeaded, build
from detassign.assigners.auxiliary_loss import AuxiliaryLoss
from detassign.assigners.waits import waits_of


def test_an_assigner_waits_as_usual_unless_its_matching_says_more():
    assert waits_of(MaxIoU()) == 1
    assert build("max_iou", num_classes=2).waits == 3
    assert build("paa", num_classes=2).waits == 7  # anchors, candidates, pairs, and four looks at the fit


@pytest.mark.parametrize("both", [Split, TwoHeaded, AuxiliaryLoss])
def test_what_asks_two_assigners_in_a_step_waits_for_both(both):
    assert both(build("paa", num_classes=2), build("fcos", num_classes=2)).waits == 7 + 3


def test_of_assigners_that_follow_one_another_one_is_asked():
    staged = Staged({0: build("max_iou", num_classes=2), 0.5: build("yolof", num_classes=2)})
    assert staged.waits == 3


def test_a_choice_among_the_pairs_of_another_matching_is_a_wait_more():
    assert TopK(MaxIoU()).waits == 2

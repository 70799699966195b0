"""COCO's ids, names and rows."""

import pytest

from detassign.engine.conversion.classes import (
    COCO_CLASSES,
    COCO_IDS,
    COCO_ROWS,
    choose_rows,
    has_background,
    names_of_rows,
)


def test_coco_has_80_classes_with_ids_up_to_90():
    assert (len(COCO_CLASSES), len(COCO_IDS), len(COCO_ROWS)) == (80, 80, 91)
    assert [COCO_ROWS[index] for index in (1, 11, 13, 17, 90)] == [
        "person",
        "fire hydrant",
        "stop sign",
        "cat",
        "toothbrush",
    ]
    assert COCO_ROWS.count(None) == 11


def test_91_rows_become_80_in_the_order_of_ids():
    assert choose_rows(91, names_of_rows(91, None, COCO_CLASSES), COCO_CLASSES) == COCO_IDS


def test_what_the_checkpoint_states_goes_before_coco():
    assert names_of_rows(2, ("cat", "dog"), ("dog",)) == ("cat", "dog")
    assert names_of_rows(80, ("cat", "dog"), ("dog",)) == COCO_CLASSES
    assert names_of_rows(7, None, COCO_CLASSES) is None


def test_another_order_is_followed_by_name():
    assert choose_rows(80, COCO_CLASSES, ("dog", "person")) == (16, 0)


def test_rows_without_names_need_the_same_number():
    assert choose_rows(3, None, ("a", "b", "c")) == (0, 1, 2)
    with pytest.raises(ValueError, match=r"the checkpoint has 3 without names, the target 2; .* --finetune-classes 2"):
        choose_rows(3, None, ("a", "b"))
    assert choose_rows(3, None, ("a", "b"), may_be_new=True) == (None, None)


def test_an_unknown_class_is_named():
    with pytest.raises(ValueError, match=r"1 of the target's 2 .* such as 'aeroplane'; .* --finetune-classes 2"):
        choose_rows(80, COCO_CLASSES, ("person", "aeroplane"))


def test_as_many_classes_of_ones_own_are_not_taken_for_cocos():
    """An unnamed checkpoint with 80 classes, and a target of 80 of which none is COCO's."""
    own = [f"part {number}" for number in range(80)]
    assert names_of_rows(80, None, own) is None
    assert choose_rows(80, None, own) == tuple(range(80))
    assert names_of_rows(80, None, own, may_be_new=True) == COCO_CLASSES
    assert names_of_rows(80, None, ["person", *own[1:]]) == COCO_CLASSES


@pytest.mark.parametrize(
    ("told", "background"),
    [
        ((8, ("x",) * 7, None, False), True),
        ((7, ("x",) * 7, None, True), False),
        ((8, ("x",) * 3, 8, False), True),
        ((7, None, 8, False), False),
        ((4, None, None, True), True),
        ((92, None, None, False), True),
        ((91, None, None, False), False),
        ((4, None, None, False), None),
    ],
)
def test_a_row_for_no_object_is_told_by_names_labels_family_or_number(told, background):
    assert has_background(*told) is background

from dataclasses import replace

import pytest
import torch
from support.random_batches import built, random_batch
from support.small import one_image, pyramid

from detassign.assigners import (
    ATSS,
    WEIGHTINGS,
    Assigner,
    CenterPrior,
    CenterSampling,
    Dual,
    Matches,
    MaxIoU,
    Predictions,
    Sigmoid,
    SigmoidObjectness,
    SoftTarget,
    TopK,
    build,
    focal,
)
from detassign.assigners.assigner import refusal
from detassign.assigners.laws.batches import pair_table
from detassign.assigners.laws.check import around


def test_parts_may_be_objects_names_or_dicts():
    assigner = Assigner({"type": "center_prior", "sigma": 2.0}, focal(), "softmax", {"type": "l1"}, num_classes=5)
    assert assigner.matching.sigma.tolist() == [[2.0, 2.0]] * 5
    assert assigner.score.background_column
    assert assigner.box_loss(torch.zeros(1, 4), torch.ones(1, 4)).tolist() == [4.0]


def test_a_box_loss_may_be_any_function():
    predictions, targets = pyramid((2, 2, 8)), one_image((0, 0, 8, 8, 0))
    assigner = Assigner(CenterSampling(), focal(), box_loss=lambda predicted, target: torch.full((len(target),), 7.0))
    assert assigner.loss(predictions, targets)["loss_box"] == 7


def test_it_needs_what_its_parts_need():
    assert Assigner(CenterPrior(3), Dual()).needs == {"points", "strides"}
    assert Assigner(CenterPrior(3), Dual(), SigmoidObjectness()).needs == {"points", "strides", "objectness"}
    assert Assigner(ATSS(), Dual(quality="predicted_iou")).needs == {"points", "strides", "level_sizes", "objectness"}
    assert Assigner(ATSS(), focal()).cardinality == "one-to-many"


@pytest.mark.parametrize("spec", ["fcos", "dw"])
def test_predictions_without_what_it_needs_are_refused_by_name(spec):
    bare = Predictions(torch.zeros(1, 4, 3), torch.zeros(1, 4, 4))
    with pytest.raises(
        ValueError, match=r"predictions: this assigner needs .*points, strides, which the head does not provide"
    ):
        build(spec, num_classes=3).loss(bare, one_image())


def test_as_many_images_of_targets_as_of_predictions_are_expected():
    with pytest.raises(ValueError, match="targets: expected 2 images, got 1"):
        build("fcos", num_classes=3)(pyramid((2, 2, 8), images=2), one_image())


@pytest.mark.parametrize("method", ["loss", "match", "forward", "assign_and_loss"])
@pytest.mark.parametrize("label", [3, -1, 80])
def test_a_label_out_of_range_is_refused(method, label):
    assigner = build("dw", num_classes=3)
    with pytest.raises(ValueError, match=f"labels: expected 0 <= label < 3 \\(the head's classes\\), got {label}"):
        getattr(assigner, method)(pyramid((2, 2, 8)), one_image((0, 0, 8, 8, label)))


def test_the_background_column_of_a_softmax_is_no_class():
    assigner = build("dw", num_classes=3, score="softmax")
    with pytest.raises(ValueError, match="labels: expected 0 <= label < 3"):
        assigner(pyramid((2, 2, 8), classes=4), one_image((0, 0, 8, 8, 3)))


def test_match_forward_and_loss_tell_the_same_story():
    assigner = build("dw", num_classes=3)
    predictions, targets = random_batch(assigner)
    matches, assignment = assigner.match(predictions, targets), assigner(predictions, targets)
    both, losses = assigner.assign_and_loss(predictions, targets)
    for other in (assignment.matches, both.matches):
        for name in ("image", "sample", "target", "score"):
            assert torch.equal(getattr(matches, name), getattr(other, name))
    assert torch.equal(assignment.negative, both.negative)
    assert assigner.loss(predictions, targets) == losses


def test_it_is_a_module_whose_state_is_the_state_of_its_parts():
    assert set(build("dw", num_classes=3).state_dict()) == {"matching.mean", "matching.sigma"}
    assert set(build("fcos", num_classes=3).state_dict()) == set()
    assert not any(p.requires_grad for p in build("dw", num_classes=3).parameters())


def test_targets_are_left_as_they_came():
    assigner = build("fcos", num_classes=3)
    predictions, targets = random_batch(assigner)
    before = replace(targets, boxes=targets.boxes.double())
    assigner.loss(predictions, before)
    assert before.boxes.dtype == torch.float64


class OnlyForSoftmax:
    needs = frozenset()
    score_models = ("Softmax",)

    def __call__(self, *arguments):
        raise AssertionError("not reached")


class OnlyOneToOne(OnlyForSoftmax):
    score_models = None
    cardinalities = ("one-to-one",)


def test_parts_that_cannot_work_together_are_refused_with_the_reason():
    with pytest.raises(
        ValueError, match="OnlyForSoftmax weighting: defined for the score model Softmax, not for Sigmoid"
    ):
        Assigner(MaxIoU(), OnlyForSoftmax(), Sigmoid())
    with pytest.raises(ValueError, match="OnlyOneToOne weighting: needs a one-to-one matching, MaxIoU is one-to-many"):
        Assigner(MaxIoU(), OnlyOneToOne())
    assert refusal(MaxIoU, OnlyForSoftmax, Sigmoid) is not None
    assert refusal(MaxIoU, SoftTarget, Sigmoid) is None


def test_no_part_runs_under_autocast():
    seen = []

    def noting(part):
        def call(*arguments):
            seen.append(torch.is_autocast_enabled("cpu"))
            return part(*arguments)

        return call

    assigner = build("dw", num_classes=3)
    matching = noting(assigner.matching)
    matching.needs, matching.cardinality = assigner.matching.needs, assigner.matching.cardinality
    weighting, score = noting(assigner.weighting), noting(assigner.score)
    weighting.needs, score.needs, score.background_column = assigner.weighting.needs, assigner.score.needs, False
    wrapped = Assigner(matching, weighting, score, noting(assigner.box_loss))
    predictions, targets = random_batch(wrapped)
    with torch.autocast("cpu", torch.bfloat16):
        wrapped.loss(predictions, targets)
        wrapped.match(predictions, targets)
    assert seen == [False] * 5


def test_given_pairs_are_not_looked_for():
    assigner = build("fcos", num_classes=3)
    predictions, targets = random_batch(assigner)
    found = assigner.match(predictions, targets)
    given = found.select(torch.arange(len(found.image)) % 2 == 0)
    assigner.matching = OnlyForSoftmax()
    assignment, losses = assigner.assign_and_loss(predictions, targets, given)
    assert torch.equal(assignment.matches.sample, given.sample)
    assert assigner.loss(predictions, targets, given) == losses
    assert torch.equal(assigner(predictions, targets, matches=given).positive, assignment.positive)


@pytest.mark.parametrize(
    ("spec", "classes", "columns", "sentence"),
    [
        ("fcos", 80, 20, "logits: expected 80 columns for 80 classes, got 20"),
        ("fcos", 3, 80, "logits: expected 3 columns for 3 classes, got 80"),
        ("dw_softmax", 7, 7, "logits: expected 8 columns for 7 classes and the background, got 7"),
        ("dw", 7, 8, "logits: expected 7 columns for 7 classes, got 8"),
    ],
)
def test_columns_that_are_not_the_assigners_classes_are_refused(spec, classes, columns, sentence):
    assigner = build(spec, num_classes=classes)
    predictions, targets = pyramid((4, 4, 8), classes=columns), one_image((1, 1, 15, 15, 1))
    for ask in (assigner, assigner.match, assigner.loss):
        with pytest.raises(ValueError, match=sentence):
            ask(predictions, targets)


def test_detr_on_as_many_columns_as_classes_does_not_make_a_class_the_background():
    predictions = Predictions(torch.zeros(1, 4, 7), torch.tensor([1.0, 1.0, 9.0, 9.0]).expand(1, 4, 4))
    with pytest.raises(ValueError, match="expected 8 columns for 7 classes and the background, got 7"):
        build("detr", 7).loss(predictions, one_image((1, 1, 15, 15, 1)))


def test_without_a_number_of_classes_the_predictions_have_it():
    assigner = Assigner("center_sampling", "focal", "softmax")
    assert assigner.num_classes is None
    assert assigner(pyramid((4, 4, 8), classes=6), one_image((1, 1, 15, 15, 4))).negative.shape[-1] == 5
    with pytest.raises(ValueError, match="expected 0 <= label < 5"):
        assigner(pyramid((4, 4, 8), classes=6), one_image((1, 1, 15, 15, 5)))


@pytest.mark.parametrize("matching", [CenterPrior(5), TopK(CenterPrior(5), 3)], ids=lambda part: type(part).__name__)
def test_a_part_that_is_kept_per_class_gives_its_number(matching):
    assigner = Assigner(matching, "focal")
    assert assigner.num_classes == 5
    with pytest.raises(ValueError, match="expected 5 columns for 5 classes, got 9"):
        assigner(pyramid((4, 4, 8), classes=9), one_image((1, 1, 15, 15, 4)))
    with pytest.raises(ValueError, match=f"expected 9 as of the assigner, got {type(matching).__name__} for 5"):
        Assigner(matching, "focal", num_classes=9)


def test_a_part_that_is_kept_per_class_asks_for_the_number():
    with pytest.raises(ValueError, match="num_classes: the centre prior is kept per class and needs their number"):
        Assigner("center_prior", "focal")


def test_a_finished_assigner_for_other_classes_is_refused():
    with pytest.raises(ValueError, match="num_classes: expected 80, got a finished assigner for 20"):
        build(build("fcos", 20), 80)
    unsure = Assigner("atss", "focal")
    assert build(unsure, 80) is unsure


@pytest.mark.parametrize("number", [0, -1, 2.0, "3"])
def test_a_number_of_classes_that_is_no_count_is_refused(number):
    with pytest.raises(ValueError, match="num_classes: expected a whole number of at least 1, got"):
        build("fcos", number)
    with pytest.raises(ValueError, match="num_classes: expected a whole number of at least 1, got"):
        build("dw", number)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_spared_classes_are_not_pushed_down_under_any_weighting_and_all_else_is_as_before(weighting):
    assigner = built(around(weighting=weighting))
    predictions, targets = random_batch(assigner)
    matches = assigner.match(predictions, targets)
    pair = torch.stack([matches.image, matches.sample, matches.labels(targets)])[:, :1]
    free = int(torch.ones(predictions.logits.shape[1]).index_fill(0, matches.sample, 0).argmax())
    spared = torch.cat([pair, torch.tensor([[0, 0, 1], [free, free, free], [0, 1, 1]])], 1)
    before, after = (
        assigner(predictions, targets, matches),
        assigner(predictions, targets, replace(matches, spared=spared)),
    )

    left = before.negative.detach().clone()
    left[[0, 0, 1], free, [0, 1, 1]] = 0
    assert torch.equal(after.negative, left)
    assert torch.equal(after.positive, before.positive)
    if before.background is not None:
        assert before.background[:, free].min() > 0
        assert after.background[:, free].max() == 0


class Apart:
    """A matching whose boxes are learned by other pairs than its classes; of one image."""

    cardinality = "one-to-many"
    needs = frozenset()

    def __init__(self, classes, boxes):
        self.classes, self.boxes = (_matches(pairs) for pairs in (classes, boxes))

    def __call__(self, predictions, targets):
        return replace(self.classes, of_boxes=self.boxes)


def _matches(pairs):
    sample, target = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).unbind(1)
    return Matches(torch.zeros_like(sample), sample, target, torch.ones(len(sample)))


def test_boxes_may_be_learned_by_other_pairs_than_classes():
    classes, boxes = [(0, 0), (1, 1)], [(1, 1), (2, 0), (3, 0)]
    assigner = Assigner(Apart(classes, boxes), focal())
    predictions, targets = random_batch(assigner, counts=(2,))
    assignment, losses = assigner.assign_and_loss(predictions, targets)
    table = pair_table(assignment, predictions.logits.shape[1], targets)[0]
    assert table[..., 1].nonzero().tolist() == [list(pair) for pair in classes]
    assert table[..., 2].nonzero().tolist() == [list(pair) for pair in boxes]
    assert assignment.normalizers.tolist() == [2, 2, 3]
    known = [assigner.loss(predictions, targets, _matches(pairs)) for pairs in (classes, boxes)]
    assert losses["loss_cls_pos"] == known[0]["loss_cls_pos"]
    assert losses["loss_cls_neg"] == known[0]["loss_cls_neg"]
    assert losses["loss_box"] == known[1]["loss_box"]


def test_a_sample_that_learns_a_box_alone_is_no_foreground():
    assigner = Assigner(Apart([(0, 0), (1, 1)], [(1, 1), (2, 0), (3, 0)]), "iou_bce")
    predictions, targets = random_batch(assigner, counts=(2,))
    known = assigner.loss(predictions, targets, _matches([(0, 0), (1, 1)]))
    losses = assigner.loss(predictions, targets)
    assert losses["loss_objectness"] == known["loss_objectness"]
    assert losses["loss_box"] != known["loss_box"]


def test_a_bag_has_the_pairs_of_classes():
    """It multiplies the likelihoods of class and box, so that they cannot have other pairs."""
    classes, boxes = [(0, 0), (1, 1)], [(2, 0)]
    assigner = Assigner(Apart(classes, boxes), "bag", "sigmoid_objectness")
    predictions, targets = random_batch(assigner, counts=(2,))
    alone = assigner.loss(predictions, targets, _matches(classes))
    assert assigner.loss(predictions, targets) == alone

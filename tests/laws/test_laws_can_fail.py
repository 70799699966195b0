"""Every law is broken by an assigner that deserves it."""

from dataclasses import replace

import pytest
import torch
from support.random_batches import CLASSES

from detassign.assigners import Assigner, CenterPrior, Scores, Sigmoid
from detassign.assigners.laws import LAWS, Broken, check_assigner


class Bent(Assigner):
    """Centre prior x focal whose answer, loss or parts are bent."""

    def __init__(self, weights=None, losses=None, **parts):
        given = {"matching": "center_prior", "weighting": "focal", "score": "sigmoid", **parts}
        super().__init__(**given, num_classes=CLASSES)
        self.bend_weights, self.bend_losses = weights, losses

    def assign_and_loss(self, predictions, targets, matches=None):
        assignment, losses = super().assign_and_loss(predictions, targets, matches)
        if self.bend_weights:
            scale = self.bend_weights(predictions, targets, assignment)
            assignment = replace(assignment, positive=assignment.positive * scale)
        if self.bend_losses:
            losses = {name: self.bend_losses(value, predictions, targets) for name, value in losses.items()}
        return assignment, losses


class Matching(CenterPrior):
    """A centre prior whose inputs or pairs are bent."""

    def __init__(self, given=None, kept=None):
        super().__init__(CLASSES)
        self.bend_given, self.bend_kept = given, kept

    def forward(self, predictions, targets):
        matches = super().forward(self.bend_given(predictions) if self.bend_given else predictions, targets)
        return matches.select(self.bend_kept(matches, predictions, targets)) if self.bend_kept else matches


class NaiveSigmoid(Sigmoid):
    """Logarithms of rounded probabilities."""

    def __call__(self, predictions):
        probability = predictions.logits.sigmoid()
        return Scores((1 - probability).log(), lambda i, s, c: probability[i, s, c].log())


class DeafSigmoid(Sigmoid):
    """A logit that is not a number counts as zero."""

    def __call__(self, predictions):
        return super().__call__(replace(predictions, logits=predictions.logits.nan_to_num()))


class Hidden(Sigmoid):
    """A gradient that is cut where nobody sees it."""

    def __call__(self, predictions):
        logits = predictions.logits
        return super().__call__(replace(predictions, logits=0.5 * logits + 0.5 * logits.data))


class Silent:
    """A distance that does not show a box that is not a number."""

    def __call__(self, predicted, target):
        return (predicted.nan_to_num() - target).abs().sum(-1) / 64


class Drawn(Assigner):
    """A number that no state dict holds."""

    def __init__(self):
        super().__init__("center_prior", "focal", num_classes=CLASSES)
        self.factor = torch.rand(()) + 0.5

    def assign_and_loss(self, predictions, targets, matches=None):
        assignment, losses = super().assign_and_loss(predictions, targets, matches)
        return assignment, {name: self.factor * value for name, value in losses.items()}


def predicted(predictions, assignment):
    return assignment.matches.predicted_boxes(predictions)


def objects(targets):
    return targets.mask.sum()


BENT = {
    "objects_in_any_order": lambda: Bent(lambda p, t, a: 1.0 + a.matches.target),
    "images_in_any_order": lambda: Bent(lambda p, t, a: 1.0 + a.matches.image),
    "samples_in_any_order": lambda: Bent(lambda p, t, a: 1.0 + a.matches.sample),
    "padding_changes_nothing": lambda: Bent(lambda p, t, a: float(t.mask.shape[1])),
    "translation_changes_nothing": lambda: Bent(lambda p, t, a: p.points[a.matches.sample, 0].abs()),
    "scale_changes_nothing_where_claimed": lambda: Bent(lambda p, t, a: p.strides[a.matches.sample]),
    "company_changes_no_weight": lambda: Bent(lambda p, t, a: float(len(p.logits))),
    "geometry_of_every_image_equals_that_of_all": lambda: Bent(lambda p, t, a: float(p.points.dim())),
    "invalid_samples_do_not_exist": lambda: Bent(matching=Matching(given=lambda p: replace(p, valid=None))),
    "stacked_batches_are_answered_one_by_one": lambda: Bent(losses=lambda loss, p, t: loss * len(p.logits)),
    "weights_are_finite_whatever_is_predicted": lambda: Bent(lambda p, t, a: predicted(p, a).sum(-1).abs()),
    "broken_logits_show_in_the_loss": lambda: Bent(score=DeafSigmoid()),
    "broken_boxes_show_in_the_loss": lambda: Bent(box_loss=Silent()),
    "a_broken_image_leaves_others_alone": lambda: Bent(lambda p, t, a: p.boxes.mean()),
    "half_precision_equals_its_rounding": lambda: Bent(losses=lambda loss, p, t: loss.to(p.logits.dtype)),
    "autocast_changes_nothing": lambda: Bent(losses=lambda loss, p, t: loss * (1 + torch.is_autocast_enabled("cpu"))),
    "targets_of_any_type_are_taken": lambda: Bent(losses=lambda loss, p, t: loss * t.boxes.dtype.itemsize),
    "double_precision_stays": lambda: Bent(losses=lambda loss, p, t: loss.float()),
    "objects_are_learned": lambda: Bent(lambda p, t, a: 0.0),
    "an_empty_image_only_pushes_down": lambda: Bent(losses=lambda loss, p, t: loss / t.mask.any(1).min()),
    "a_batch_without_objects_reaches_every_prediction": lambda: Bent(
        losses=lambda loss, p, t: loss if t.mask.any() else 0 * loss.detach()
    ),
    "a_batch_without_objects_is_no_spike": lambda: Bent(losses=lambda loss, p, t: loss if t.mask.any() else loss * 1e6),
    "crowds_are_no_trouble": lambda: Bent(lambda p, t, a: a.positive.new_ones(()) / (objects(t) < 80)),
    "duplicates_are_defined": lambda: Bent(lambda p, t, a: 1 / torch.cdist(t.boxes[:, :1], t.boxes[:, 1:]).min()),
    "odd_objects_are_defined": lambda: Bent(lambda p, t, a: 1 / (t.boxes[..., 2] - t.boxes[..., 0])[t.mask].min()),
    "an_object_without_candidates_takes_no_sample": lambda: Bent(
        matching=Matching(kept=lambda m, p, t: (m.target > 0) | (objects(t) < 4)),
    ),
    "odd_predicted_boxes_are_defined": lambda: Bent(
        lambda p, t, a: 1 / (predicted(p, a)[:, 2] - predicted(p, a)[:, 0])
    ),
    "saturated_logits_are_defined": lambda: Bent(score=NaiveSigmoid()),
    "copies_answer_alike": lambda: Bent(lambda p, t, a: 1.0),
    "the_state_dict_is_the_state": Drawn,
    "the_gradient_is_the_derivative": lambda: Bent(score=Hidden()),
}


def test_the_samples_of_a_matching_whose_conflicts_go_to_the_last_may_not_follow_the_order_either():
    """It says that contested samples do; here those of the first object are lost."""
    matching = Matching(kept=lambda m, p, t: m.target > 0)
    matching.conflict = "last"
    with pytest.raises(Broken, match="another order of objects changes which samples are matched"):
        LAWS["objects_in_any_order"].check(lambda: Bent(matching=matching), range(6))


def test_every_law_has_an_assigner_that_breaks_it():
    assert set(BENT) == set(LAWS)


@pytest.mark.parametrize("name", LAWS)
def test_a_law_is_broken_by_what_deserves_it(name):
    with pytest.raises(Broken, match=r"\(seed \d\)"):
        LAWS[name].check(BENT[name], range(6))


def test_an_unbent_assigner_breaks_only_what_its_bending_alone_would():
    outcomes = check_assigner(Bent, seeds=range(3))
    assert [outcome for outcome in outcomes if not outcome.holds] == []


def test_a_part_that_raises_breaks_the_law_with_its_error():
    def fail(*given):
        raise KeyError("mine")

    outcome, *_ = check_assigner(lambda: Bent(fail), seeds=[0], laws=["objects_are_learned"])
    assert (outcome.holds, outcome.found) == (False, "KeyError: 'mine'")


def test_an_unknown_law_or_assigner_is_one_sentence():
    with pytest.raises(ValueError, match="unknown law 'objects_are_lernt'; did you mean 'objects_are_learned'"):
        check_assigner("dw", laws=["objects_are_lernt"])
    with pytest.raises(ValueError, match="unknown assigner 'dww'; did you mean"):
        check_assigner("dww")


@pytest.mark.parametrize(
    "given", ["center_prior+focal", {"matching": "center_prior", "weighting": "focal"}, "assigner"]
)
def test_an_assigner_may_come_as_spec_dict_or_finished(given):
    assigner = Assigner("center_prior", "focal", num_classes=5) if given == "assigner" else given
    outcomes = check_assigner(assigner, seeds=[0], laws=["objects_are_learned", "a_batch_without_objects_is_no_spike"])
    assert [outcome.holds for outcome in outcomes] == [True, True]
    assert outcomes[1].found.endswith("with random ones")

from dataclasses import replace

import pytest
import torch
from support.random_batches import CLASSES, random_batch, random_predictions
from support.small import one_image, pyramid

from detassign.assigners import (
    ASSIGNERS,
    ATSS,
    PAA,
    POTO,
    CenterPrior,
    CenterSampling,
    Dual,
    GeometricMean,
    LevelBalanced,
    MaxIoU,
    OneToFew,
    PowerIoU,
    Predictions,
    Sigmoid,
    SigmoidObjectness,
    Softmax,
    SoftTarget,
    TaskAligned,
    TopK,
    build,
    focal,
    giou_focal,
    ia_bce,
    mal,
    position_supervised,
    predicted_iou,
    set_progress,
    task_aligned,
    varifocal,
)


def parts(assigner):
    return tuple(type(part) for part in (assigner.matching, assigner.weighting, assigner.score))


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("fcos", (CenterSampling, SoftTarget, Sigmoid)),
        ("atss", (ATSS, SoftTarget, Sigmoid)),
        ("max_iou", (MaxIoU, SoftTarget, Sigmoid)),
        ("gfl", (ATSS, SoftTarget, Sigmoid)),
        ("paa", (PAA, SoftTarget, Sigmoid)),
        ("vfnet", (ATSS, SoftTarget, Sigmoid)),
        ("ddod", (ATSS, LevelBalanced, Sigmoid)),
        ("poto", (POTO, SoftTarget, Sigmoid)),
        ("poto_filter", (POTO, SoftTarget, SigmoidObjectness)),
        ("poto_aux", (POTO, SoftTarget, SigmoidObjectness)),
        ("o2f", (OneToFew, SoftTarget, SigmoidObjectness)),
        ("dw", (CenterPrior, Dual, SigmoidObjectness)),
        ("dw_original", (CenterPrior, Dual, SigmoidObjectness)),
        ({"type": "dw", "score": "sigmoid"}, (CenterPrior, Dual, Sigmoid)),
        ({"type": "dw", "top_k": 20, "form": "paper"}, (TopK, Dual, SigmoidObjectness)),
        ("atss+dual", (ATSS, Dual, Sigmoid)),
        ("center_prior+dual_paper+softmax", (CenterPrior, Dual, Softmax)),
        ({"matching": "max_iou", "weighting": {"type": "focal", "gamma": 1.0}}, (MaxIoU, SoftTarget, Sigmoid)),
        (
            {"matching": CenterPrior(3), "weighting": "dual", "score": "softmax", "box_loss": "l1"},
            (CenterPrior, Dual, Softmax),
        ),
    ],
    ids=str,
)
def test_an_assigner_is_built_from_a_preset_or_from_parts(spec, expected):
    assert parts(build(spec, num_classes=3)) == expected


@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("dw_paper", {"type": "dw", "form": "paper"}),
        ("dw_softmax", {"type": "dw", "score": "softmax"}),
        ("dw_top9", {"type": "dw", "top_k": 9}),
        ("fcos_dual", {"matching": "center_sampling", "weighting": "dual", "score": "sigmoid_objectness"}),
    ],
)
def test_a_variant_is_its_preset_with_that_one_change(name, same):
    assert repr(build(name, 3)) == repr(build(same, 3))
    assert build(name, 3, weighting={"gamma": 1.0}).weighting.gamma == 1.0


def test_a_finished_assigner_is_taken_as_it_is():
    assigner = build("fcos", num_classes=3)
    assert build(assigner, num_classes=3) is assigner


def test_changes_override_what_a_preset_is_given():
    assert build({"type": "dw", "top_k": 20}, num_classes=3, top_k=5).matching.k == 5
    assert build("atss+focal", num_classes=3, score="softmax").score.background_column


@pytest.mark.parametrize(
    ("spec", "changes", "sentence"),
    [
        ("fcoss", {}, "unknown assigner 'fcoss'; did you mean 'fcos'"),
        ("fcos", {"radios": 1}, "unknown parameter of assigner 'fcos' 'radios'; did you mean 'radius'"),
        ("atss+dualx", {}, "unknown matching|unknown weighting 'dualx'; did you mean 'dual'"),
        ("atss+dual+sigmoid+more", {}, r"assigner 'atss\+dual\+sigmoid\+more': expected matching\+weighting or"),
        (
            {"matching": "atss"},
            {},
            r"assigner: expected a type, or matching and weighting \(score, box_loss, branch, steady\), got \['matching'\]",
        ),
        ({"matching": "atss", "weighting": "dual", "losses": 1}, {}, r"got \['losses', 'matching', 'weighting'\]"),
        (5, {}, "assigner: expected a name, a dict or an Assigner, got 5"),
        (build("fcos", num_classes=3), {"radius": 1}, r"assigner: a finished one takes no changes, got \['radius'\]"),
        ("dw", {"form": "codes"}, 'form: expected "code" or "paper", got \'codes\''),
        (
            "dw",
            {"weighting": {"mu_nrom": 5}},
            "unknown parameter of weighting 'dual' 'mu_nrom'; did you mean 'mu_norm'",
        ),
    ],
    ids=str,
)
def test_a_mistake_is_answered_in_one_sentence(spec, changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        build(spec, num_classes=3, **changes)


@pytest.mark.parametrize("name", list(ASSIGNERS))
def test_a_preset_changes_nothing_that_the_next_one_sees(name):
    spec = {"type": name}
    first, second = build(spec, num_classes=3), build(spec, num_classes=3)
    assert spec == {"type": name}
    assert first.matching is not second.matching
    assert first.weighting is not second.weighting


def test_dw_has_the_constants_of_its_code():
    assigner = build("dw", num_classes=2)
    weighting = assigner.weighting
    assert (weighting.mu_weight, weighting.mu_norm, weighting.gamma) == (5.0, 3.0, 2.0)
    assert (weighting.iou_exponent, weighting.iou_low, weighting.iou_high) == (2.0, 0.5, None)
    assert (weighting.positive_scale, weighting.negative_scale, weighting.box_scale) == (0.25, 1.0, 1.25)
    assert weighting.quality.scale == 5.0
    assert weighting.conflict == "min"
    assert assigner.matching.sigma.unique().tolist() == pytest.approx([1.11])
    assert assigner.matching.mean.count_nonzero() == 0
    assert build("dw_original", num_classes=2).weighting.conflict == "last"


def test_dw_of_the_paper_has_the_papers_constants():
    weighting = build("dw", num_classes=2, form="paper").weighting
    assert (weighting.mu_weight, weighting.mu_norm, weighting.iou_high) == (5.0, 5.0, 0.95)
    assert isinstance(weighting.quality, PowerIoU)
    assert weighting.quality.beta == 5.0


def test_dw_hands_its_arguments_to_its_parts():
    assigner = build(
        "dw", num_classes=2, prior={"sigma": 2.0, "learnable": True}, weighting={"mu_norm": 4.0, "conflict": "max"}
    )
    assert assigner.matching.sigma.requires_grad
    assert assigner.matching.sigma.unique().tolist() == [2.0]
    assert assigner.weighting.mu_norm == 4.0
    assert assigner.weighting.conflict == "max"


def train(spec, steps=60):
    """First and last loss of predictions that are themselves the parameters, and what they end as."""
    assigner = build(spec, num_classes=CLASSES)
    targets = one_image((4, 4, 36, 36, 0), (28, 28, 60, 60, 1), (20, 20, 52, 52, 1))
    predictions = random_predictions(assigner, targets)
    logits, boxes, objectness = (
        getattr(predictions, name).clone().requires_grad_() for name in ("logits", "boxes", "objectness")
    )
    optimizer = torch.optim.Adam([{"params": [logits, objectness], "lr": 0.1}, {"params": [boxes], "lr": 1.0}])
    history = []
    for _ in range(steps):
        losses = assigner.loss(replace(predictions, logits=logits, boxes=boxes, objectness=objectness), targets)
        total = sum(losses.values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        history.append(total.item())
    return assigner, history, replace(predictions, logits=logits, boxes=boxes, objectness=objectness), targets


@pytest.mark.parametrize(
    "spec",
    [
        *(name for name in ASSIGNERS),
        *(
            {"type": "dw", "score": score, "form": form}
            for score in ("sigmoid", "softmax")
            for form in ("code", "paper")
        ),
    ],
    ids=str,
)
def test_an_assigner_trains(spec):
    _, history, _, _ = train(spec)
    assert history[-1] < 0.6 * history[0]


@pytest.mark.parametrize("score", ["sigmoid", "sigmoid_objectness", "softmax"])
def test_training_on_dw_puts_a_confident_and_tight_box_on_every_target(score):
    assigner, _, predictions, targets = train({"type": "dw", "score": score}, steps=200)
    assignment = assigner(predictions, targets)
    probability = assigner.score(predictions).probability
    matches = assignment.matches
    confidence = probability[matches.image, matches.sample, matches.labels(targets)].detach()
    good = confidence * assignment.details["iou"]
    best = torch.zeros(targets.mask.numel()).scatter_reduce(0, matches.flat_target(targets), good, "amax")
    assert (best.view(targets.mask.shape)[targets.mask] > 0.7).all()


def test_a_single_class_problem_has_labels_of_zero():
    losses = build("dw", num_classes=1).loss(pyramid((2, 2, 8), classes=1), one_image((0, 0, 16, 16, 0)))
    assert losses["loss_cls_pos"] > 0


@pytest.mark.parametrize(
    ("preset", "costs", "class_scale", "eps"),
    [
        ("detr", {"softmax": 1.0, "l1": 5.0, "giou": 2.0}, 1.0, 0.0),
        ("deformable_detr", {"focal": 2.0, "l1": 5.0, "giou": 2.0}, 2.0, 0.0),
        ("hungarian", {"focal": 2.0, "l1": 5.0, "giou": 2.0}, 1.0, 1e-6),
    ],
)
def test_the_detr_family_has_the_constants_of_its_papers(preset, costs, class_scale, eps):
    assigner = build(preset, num_classes=3)
    assert {name: term.weight for name, term in assigner.matching.costs.items()} == costs
    assert assigner.weighting.class_scale == class_scale
    assert {name: term.weight for name, term in assigner.box_loss.items()} == {"l1": 5.0, "giou": 2.0}
    tiny = torch.tensor([[0.0, 0.0, 1e-3, 1e-3]])
    assert assigner.box_loss["giou"].part(tiny, tiny).item() == pytest.approx(1 - 1e-6 / (1e-6 + eps), abs=1e-6)
    assert list(build(preset, num_classes=3, costs={"iou": 1.0}).matching.costs) == ["iou"]


@pytest.mark.parametrize(
    ("preset", "weighting", "class_scale", "eps"),
    [
        ("vfl", varifocal(box_weight="one", box_scale=1.0, detach=True, count="targets"), 1.0, 0.0),
        ("mal", mal(), 1.0, 0.0),
        ("lw", ia_bce(), 1.0, 0.0),
        ("align", ia_bce(eps=1e-6, rank_decay=1.5, count="targets_once"), 1.0, 1e-6),
        ("stable", position_supervised(eps=1e-6, class_scale=6.0), 6.0, 1e-6),
        ("rank", giou_focal(eps=1e-6, class_scale=2.0), 2.0, 1e-6),
    ],
)
def test_scores_that_say_how_well_boxes_fit_have_the_constants_of_their_papers(preset, weighting, class_scale, eps):
    assigner = build(preset, num_classes=3)
    assert repr(assigner.weighting) == repr(weighting)
    assert assigner.weighting.class_scale == class_scale
    assert {name: term.weight for name, term in assigner.matching.costs.items()} == {
        "focal": 2.0,
        "l1": 5.0,
        "giou": 2.0,
    }
    assert {name: term.weight for name, term in assigner.box_loss.items()} == {"l1": 5.0, "giou": 2.0}
    assert assigner.matching.costs["giou"].part.eps == assigner.box_loss["giou"].part.eps == eps


@pytest.mark.parametrize(
    ("preset", "weighting", "constants"),
    [
        ("deta", focal(count="targets_once"), (0.6, 4, 0.0, "all", 0.25)),
        ("ms", focal(class_scale=2.0, count="targets_once"), (0.4, 6, 0.3, "one", 0.25)),
        (
            "dac",
            ia_bce(rank_decay=1.5, class_scale=1 / 3, box_scale=1 / 3, count="targets_once"),
            (0.4, 6, 0.3, "one", 0.25),
        ),
    ],
)
def test_thresholds_are_those_of_their_papers(preset, weighting, constants):
    assigner = build(preset, num_classes=3)
    assert repr(assigner.weighting) == repr(weighting)
    thresholded = getattr(assigner.matching, "matching", assigner.matching)
    names = ("threshold", "k", "class_weight", "low_quality", "limit")
    assert tuple(getattr(thresholded, name) for name in names) == constants
    assert {name: term.weight for name, term in assigner.box_loss.items()} == {"l1": 5.0, "giou": 2.0}
    assert assigner.cardinality == "one-to-many"


@pytest.mark.parametrize(("preset", "of_classes"), [("d_fine", "vfl"), ("deim", "mal")])
def test_boxes_alone_learn_from_the_pairs_of_all_layers(preset, of_classes):
    united, plain = (build(name, num_classes=CLASSES) for name in (preset, of_classes))
    predictions, targets = random_batch(plain, 0, (4, 2))
    moved = predictions.boxes + torch.randn(2, 1, 4, generator=torch.Generator().manual_seed(0)) * 4
    layers = Predictions(predictions.logits.repeat(2, 1, 1), torch.cat([predictions.boxes, moved]), groups=2)
    assignment, ours = united.assign_and_loss(layers, targets.repeat(2))
    theirs = plain.loss(layers, targets.repeat(2))
    for name in ("loss_cls_pos", "loss_cls_neg"):
        torch.testing.assert_close(ours[name], theirs[name])
    assert (ours["loss_l1"] != theirs["loss_l1"]).all()
    assert assignment.normalizers[2].tolist() == [(assignment.box > 0).sum() / 2] * 2
    assert (assignment.normalizers[0] == 6).all()
    assert united.cardinality == "one-to-one"


def test_align_detr_gives_an_object_two_queries_and_one_in_the_last_layer():
    assigner = build("align", num_classes=CLASSES)
    predictions, targets = random_batch(assigner, 0, (4,))
    layers = Predictions(predictions.logits.repeat(2, 1, 1), predictions.boxes.repeat(2, 1, 1), groups=2)
    image = assigner.match(layers, targets.repeat(2)).image
    assert torch.bincount(image).tolist() == [8, 4]
    assert assigner.cardinality == "one-to-one"


def test_ddqs_dense_queries_are_four_per_object_and_their_costs_have_two_sigmoids():
    assigner = build("ddq_dense", num_classes=3)
    focal_cost, l1 = (assigner.matching.costs[name].part for name in ("focal", "l1"))
    assert (focal_cost.twice, focal_cost.eps, l1.layout, assigner.matching.copies) == (True, 1e-12, "xyxy", 4)
    assert {name: term.weight for name, term in assigner.matching.costs.items()} == {
        "focal": 2.0,
        "l1": 5.0,
        "giou": 2.0,
    }
    assert repr(assigner.weighting) == repr(task_aligned())


def test_stable_dinos_cost_is_modulated_by_the_pairs_own_boxes():
    cost = build("stable", num_classes=3).matching.costs["focal"].part
    assert (type(cost).__name__, cost.power, cost.eps, cost.position) == ("PositionFocalCost", 0.5, 1e-6, "own")


def test_rank_detrs_cost_changes_at_three_quarters_of_the_training():
    assigner = build("rank", num_classes=3)
    set_progress(assigner, 0.7499)
    assert list(assigner.matching.costs) == ["focal", "l1", "giou"]
    set_progress(assigner, 0.75)
    (late,) = assigner.matching.costs.values()
    assert (late.weight, late.part.score_power, late.part.iou_power, late.part.eps) == (1.0, 1.0, 4.0, 1e-6)
    assert repr(build("rank", 3, by_giou=False).weighting) == repr(build("deformable_detr", 3).weighting)


def test_gfl_with_and_without_a_distribution_weighs_boxes_alike():
    whole, plain = build("gfl", 3), build("gfl", 3, distribution=False)
    assert whole.needs - plain.needs == {"distribution"}
    predictions, targets = random_batch(whole)
    for each in (whole, plain):
        each.matching.prior_scale = 2.0  # or anchors would be as large as the image
    assert len(whole.match(predictions, targets).sample)
    with_bins, without = (each.loss(predictions, targets) for each in (whole, plain))
    assert set(with_bins) - set(without) == {"loss_dfl"}
    for name, value in without.items():
        torch.testing.assert_close(with_bins[name], value)


def test_vfnet_wants_the_iou_of_a_box_as_the_score_of_its_class_and_as_the_weight_of_the_box():
    assigner = build("vfnet", 3)
    assigner.matching.prior_scale = 2.0  # or anchors would be as large as the image
    predictions, targets = random_batch(assigner)
    assignment = assigner(predictions, targets)
    assert len(assignment.positive)
    overlap = predicted_iou(predictions, targets, assignment.matches)
    torch.testing.assert_close(assignment.positive.detach(), overlap**2)
    torch.testing.assert_close(assignment.box, 2 * overlap)


def test_ddod_chooses_samples_by_two_mixtures_of_score_and_overlap():
    assigner = build("ddod", 3)
    assert [part.matching.alpha for part in assigner.assigners] == [0.8, 0.5]
    assert build("ddod", 3, class_alpha=1.0).matching.alpha == 1.0
    plain = build("ddod", 3, balance=False)
    assert type(plain.weighting) is SoftTarget


def test_tood_aligns_from_a_third_of_the_training_on():
    assigner = build("tood", 3)
    assert parts(assigner) == (ATSS, SoftTarget, GeometricMean)
    set_progress(assigner, 4 / 12)
    assert parts(assigner) == (TaskAligned, SoftTarget, GeometricMean)
    assert type(assigner.matching.score) is GeometricMean
    assert (assigner.matching.k, assigner.matching.score_power, assigner.matching.iou_power) == (13, 1.0, 6.0)


def test_tood_may_begin_with_alignment():
    assert parts(build("tood", 3, aligned_from=0)) == (TaskAligned, SoftTarget, GeometricMean)

"""Parts by name take what they leave open from the assigner that a detector usually has."""

import pytest

from detassign.assigners import ASSIGNERS, Assigner, Dual, build


def constants(assigner):
    """Everything that decides the experiment, as it is printed."""
    return repr(assigner)


@pytest.mark.parametrize(
    ("spec", "home", "preset"),
    [
        ("center_sampling+focal", "fcos", "fcos"),
        ("atss+focal", "fcos", "atss"),
        ("max_iou+focal", "fcos", "max_iou"),
        ("center_prior+dual", "fcos", "dw"),
        ("hungarian+focal", "hungarian", "hungarian"),
        ("hungarian+focal", "deformable_detr", "deformable_detr"),
        ("hungarian+focal", "detr", "deformable_detr"),
        ("hungarian+cross_entropy", "detr", "detr"),
    ],
)
def test_parts_of_a_known_assigner_are_that_assigner(spec, home, preset):
    assigner, known = build(spec, 3, home), build(preset, 3)
    assert constants(assigner.matching) == constants(known.matching)
    assert constants(assigner.weighting) == constants(known.weighting)
    assert constants(assigner.box_loss) == constants(known.box_loss)
    assert type(assigner.branch) is type(known.branch)
    assert type(assigner.score) is type(known.score)


def test_another_weighting_keeps_costs_and_box_losses_of_the_detector():
    assigner, dino = build("hungarian+dual", 3, "hungarian"), build("hungarian", 3)
    assert constants(assigner.matching) == constants(dino.matching)
    assert {name: term.weight for name, term in assigner.box_loss.items()} == {"l1": 5.0, "giou": 2.0}
    assert assigner.weighting.box_scale == dino.weighting.box_scale == 1.0
    assert assigner.weighting.mu_weight == 5.0


def test_another_matching_keeps_the_weighting_of_the_detector():
    assigner, dino = build("atss+focal", 3, "hungarian"), build("hungarian", 3)
    assert constants(assigner.weighting) == constants(dino.weighting)
    assert constants(assigner.box_loss) == constants(dino.box_loss)
    assert assigner.branch is None


def test_what_the_spec_says_holds():
    assigner = build("hungarian(costs={'focal': 1})+focal(gamma=1.5)+sigmoid", 3, "hungarian")
    assert list(assigner.matching.costs) == ["focal"]
    assert assigner.weighting.gamma == 1.5
    assert assigner.weighting.count == "targets"
    described = {"matching": "hungarian", "weighting": "focal", "box_loss": "giou"}
    assert constants(build(described, 3, "hungarian").box_loss) == constants(build("fcos", 3).box_loss)


@pytest.mark.parametrize("name", ["fcos", "hungarian", "dw"])
def test_presets_are_the_same_in_every_home(name):
    for home in ASSIGNERS:
        assert constants(build(name, 3, home)) == constants(build(name, 3))


@pytest.mark.parametrize("home", ["detr", "deformable_detr", "fcos"])
@pytest.mark.parametrize(
    "spec", ["thresholded(class_weight=0.3)+ia_bce(rank_decay=1.5)", "task_aligned+focal", "poto(alpha=0.7)+focal"]
)
def test_a_matching_reads_predictions_as_its_assigner_does(spec, home):
    """Whatever the detector's usual score model is: P of DETR's softmax has another number of columns."""
    assigner = build(spec, 3, home)
    assert type(assigner.matching.score) is type(assigner.score)


@pytest.mark.parametrize(
    "spec", ["hungarian+dual", "hungarian(copies=2)+dual", "hungarian+focal", "union(hungarian)+focal"]
)
def test_costs_follow_the_score_model_of_the_assigner(spec):
    """In DETR, too, whose own costs are those of a softmax: of parts that none is known to be made of they stay so."""
    assigner = build(spec, 3, "detr")
    costs = getattr(assigner.matching, "matching", assigner.matching).costs
    assert set(costs) == {"softmax" if assigner.score.background_column else "focal", "l1", "giou"}


def test_an_assigner_that_is_registered_later_counts(own_parts):
    spec = {"matching": "fovea", "weighting": "dual"}
    assert build(spec, 3, "fcos").weighting.mu_weight == 5.0

    @ASSIGNERS.register("fovea_dual")
    def fovea_dual(num_classes):
        return Assigner("fovea", Dual(mu_weight=0.125), num_classes=num_classes)

    assert build(spec, 3, "fcos").weighting.mu_weight == 0.125
    assert build(spec, 2, "fcos").weighting.mu_weight == 0.125


def test_two_that_are_built_share_no_part():
    first, second = build("hungarian+dual", 3, "dw"), build("hungarian+dual", 3, "dw")
    assert not {id(module) for module in first.modules()} & {id(module) for module in second.modules()}
    assert first.matching is not second.matching
    assert first.weighting is not second.weighting

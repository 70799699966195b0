import math
from dataclasses import replace

import pytest
import torch
from support.small import one_image
from torch.nn.functional import binary_cross_entropy

from detassign.assigners import ASSIGNERS, Assigner, Centerness, CenterSampling, Dual, Targets, build, focal
from detassign.assigners.weighting.common import pair_centerness
from detassign.heads import DenseHead
from detassign.heads.dense import check_assigner, make_tower, second_branch

CLASSES, CHANNELS, STRIDES = 3, 8, (8, 16)


def small_head(assigner="fcos", **arguments):
    torch.manual_seed(0)
    given = {"feat_channels": 8, "stacked_convs": 1, "strides": STRIDES, "norm_groups": 2, "initial_distance": 1.0}
    return DenseHead(CLASSES, CHANNELS, assigner=assigner, **{**given, **arguments})


def features(images=2, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(images, CHANNELS, size, size, generator=generator).to(dtype) for size in (8, 4)]


TARGETS = Targets.from_lists(
    [torch.tensor([[4.0, 4.0, 40.0, 40.0], [20.0, 20.0, 60.0, 60.0]]), torch.zeros(0, 4)],
    [torch.tensor([0, 2]), torch.zeros(0)],
    sizes=torch.full((2, 2), 64),
)
NOTHING = Targets.from_lists([torch.zeros(0, 4)] * 2, [torch.zeros(0)] * 2, sizes=torch.full((2, 2), 64))


def test_a_batch_may_have_other_strides():
    """Its head is that of the same weights that was made for them."""
    own, other = small_head()(features(), (16, 32)), small_head(strides=(16, 32))(features())
    assert torch.equal(own.boxes, other.boxes)
    assert torch.equal(own.points, other.points)
    assert torch.equal(own.strides, other.strides)


def test_predictions_carry_the_whole_geometry():
    predictions = small_head()(features())
    assert predictions.logits.shape == (2, 80, CLASSES)
    assert predictions.boxes.shape == (2, 80, 4)
    assert predictions.objectness.shape == (2, 80)
    assert predictions.level_sizes == (64, 16)
    assert predictions.points[[0, 1, 8, 64]].tolist() == [[4.0, 4.0], [12.0, 4.0], [4.0, 12.0], [8.0, 8.0]]
    assert predictions.strides[[0, 63, 64, 79]].tolist() == [8.0, 8.0, 16.0, 16.0]


@pytest.mark.parametrize(("distances", "half_sides"), [("relu", (32.0, 64.0)), ("exp", (math.exp(4.0),) * 2)])
def test_distances_are_in_strides_or_log_pixels(distances, half_sides):
    head = small_head(distances=distances, initial_distance=4.0)
    torch.nn.init.zeros_(head.conv_reg.weight)
    predictions = head(features())
    widths = (predictions.boxes[..., 2] - predictions.boxes[..., 0]) / 2
    torch.testing.assert_close(widths[:, :64], torch.full((2, 64), half_sides[0]))
    torch.testing.assert_close(widths[:, 64:], torch.full((2, 16), half_sides[1]))


def test_negative_distances_do_not_turn_boxes_inside_out():
    head = small_head(initial_distance=-5.0)
    torch.nn.init.zeros_(head.conv_reg.weight)
    predictions = head(features())
    assert torch.equal(predictions.boxes[0, :, :2], predictions.points)
    assert torch.equal(predictions.boxes[0, :, 2:], predictions.points)


def test_objectness_that_is_rarely_true_starts_as_classes_do_and_other_branches_even():
    for assigner, start in (("simota", -math.log(0.98 / 0.02)), ("fcos", 0.0), ("dw", 0.0)):
        head = small_head(assigner=assigner, class_prior=0.02)
        assert head.conv_centerness.bias.item() == pytest.approx(start)


def test_every_class_starts_at_the_class_prior_and_a_softmax_even():
    head = small_head(class_prior=0.02)
    torch.nn.init.zeros_(head.conv_cls.weight)
    torch.testing.assert_close(head.scores(head(features()))[0], torch.full((2, 80, CLASSES), 0.02))
    softmax = small_head({"type": "dw", "score": "softmax"})
    torch.nn.init.zeros_(softmax.conv_cls.weight)
    torch.testing.assert_close(softmax.scores(softmax(features()))[0], torch.full((2, 80, CLASSES), 1 / (CLASSES + 1)))


def test_a_softmax_head_has_a_column_for_the_background():
    head = small_head({"type": "dw", "score": "softmax"})
    assert head.conv_cls.out_channels == CLASSES + 1
    assert head(features()).logits.shape[-1] == CLASSES + 1
    assert head.scores(head(features()))[0].shape[-1] == CLASSES


@pytest.mark.parametrize(
    ("assigner", "branch"),
    [
        ("fcos", "centerness"),
        ("atss", "centerness"),
        ("max_iou", None),
        ("gfl", None),
        ("dw", "objectness"),
        ("dw_original", "objectness"),
        ({"type": "dw", "score": "sigmoid"}, None),
        ({"type": "dw", "score": "softmax"}, None),
        ("atss+dual+sigmoid_objectness", "objectness"),
    ],
    ids=str,
)
def test_the_second_branch_follows_the_assigner(assigner, branch):
    head = small_head(assigner)
    assert head.branch == branch == second_branch(head.assigner)
    assert (head.conv_centerness is not None) == (branch is not None)
    assert (head(features()).objectness is not None) == (branch is not None)


@pytest.mark.parametrize(
    ("assigner", "branch", "sentence"),
    [
        ("dw", None, r"assigner: needs objectness, which this dense head \(branch=None\) does not provide"),
        ("dw", "centerness", "branch: 'centerness' cannot serve a score model that multiplies in objectness"),
        ("fcos", "objectness", "branch: 'objectness' is trained by no one under this score model"),
        (Assigner(CenterSampling(), Dual(quality="predicted_iou")), "auto", "assigner: needs objectness"),
    ],
)
def test_what_the_head_cannot_serve_is_refused_when_it_is_built(assigner, branch, sentence):
    with pytest.raises(ValueError, match=sentence):
        small_head(assigner, branch=branch)


def test_an_assigner_on_anchors_is_refused():
    class OnAnchors(CenterSampling):
        needs = frozenset({"priors"})

    with pytest.raises(ValueError, match="assigner: needs priors"):
        check_assigner(Assigner(OnAnchors(), focal()), None)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"branch": "center"}, "unknown second branch 'center'; did you mean 'centerness'"),
        ({"branch_on": "both"}, "branch_on: expected one of reg, cls, got 'both'"),
        ({"distances": "linear"}, "distances: expected one of exp, relu, exp_strides, got 'linear'"),
        ({"refinement": {"border": "reflect"}}, 'border: expected "zeros" or "clamp", got \'reflect\''),
        ({"assigner": "fcoss"}, "unknown assigner 'fcoss'; did you mean 'fcos'"),
    ],
)
def test_an_unknown_choice_is_refused_by_name(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        small_head(**arguments)


@pytest.mark.parametrize("count", [1, 3])
def test_one_feature_map_per_stride_is_expected(count):
    with pytest.raises(ValueError, match=f"features: expected 2 levels, got {count}"):
        small_head()([*features(), *features()][:count])


def test_the_branch_may_sit_on_either_tower():
    for tower, other in (("reg", "cls"), ("cls", "reg")):
        head = small_head(branch_on=tower)
        head(features()).objectness.sum().backward()
        assert getattr(head, f"{tower}_convs")[0].conv.weight.grad.count_nonzero() > 0
        assert getattr(head, f"{other}_convs")[0].conv.weight.grad is None


@pytest.mark.parametrize("targets", [TARGETS, NOTHING], ids=["targets", "no targets"])
@pytest.mark.parametrize("refinement", [None, {}, {"border": "clamp"}], ids=["plain", "zeros", "clamp"])
@pytest.mark.parametrize("assigner", list(ASSIGNERS))
def test_every_parameter_gets_a_gradient(assigner, refinement, targets):
    head = small_head(assigner, refinement=refinement)
    losses = head.loss(features(), targets)
    sum(losses.values()).backward()
    for name, parameter in head.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name


def test_a_centerness_head_has_a_fourth_term_and_others_do_not():
    assert set(small_head("fcos").loss(features(), TARGETS)) == {
        "loss_cls_pos",
        "loss_cls_neg",
        "loss_box",
        "loss_centerness",
    }
    assert "loss_centerness" not in small_head("dw").loss(features(), TARGETS)


@pytest.mark.parametrize("assigner", ["fcos", {"type": "dw", "score": "sigmoid"}], ids=str)
def test_the_centerness_term_is_the_mean_over_pairs_whatever_the_weighting_counts(assigner):
    """A branch that says one half everywhere is off by at least log 2 at each pair, and by exactly that on average."""
    head = small_head(assigner, branch="centerness")
    torch.nn.init.zeros_(head.conv_centerness.weight)
    assert head.loss(features(), TARGETS)["loss_centerness"].item() == pytest.approx(math.log(2), rel=1e-5)
    assert head.loss(features(), NOTHING)["loss_centerness"] == 0


def test_the_centerness_term_is_least_where_the_branch_says_the_centerness():
    head = small_head("fcos")
    predictions, targets = head(features(images=1)), one_image((17, 22, 50, 51, 0))
    assignment = head.assigner(predictions, targets)
    matches = assignment.matches
    wanted = pair_centerness(predictions, targets, matches)
    right = predictions.objectness.detach().clone()
    right[matches.image, matches.sample] = wanted.logit()
    value = Centerness()(replace(predictions, objectness=right), targets, assignment)
    torch.testing.assert_close(value, binary_cross_entropy(wanted, wanted))
    assert len(wanted.unique()) > 1
    for shift in (-0.5, 0.5):
        assert Centerness()(replace(predictions, objectness=right + shift), targets, assignment) > value


def test_centerness_multiplies_the_score_and_objectness_is_part_of_it():
    head = small_head("fcos")
    predictions = head(features())
    scores, factor = head.scores(predictions)
    torch.testing.assert_close(scores, predictions.logits.sigmoid())
    torch.testing.assert_close(factor, predictions.objectness.sigmoid())
    head = small_head("dw")
    predictions = head(features())
    scores, factor = head.scores(predictions)
    assert factor is None
    torch.testing.assert_close(scores, predictions.logits.sigmoid() * predictions.objectness.sigmoid()[..., None])


def test_under_autocast_boxes_scores_and_losses_are_float32():
    head = small_head("dw", refinement={})
    with torch.autocast("cpu", torch.bfloat16):
        predictions = head(features())
        losses = head.loss(features(), TARGETS)
        scores, _ = head.scores(predictions)
    assert predictions.logits.dtype == torch.bfloat16
    assert predictions.boxes.dtype == scores.dtype == torch.float32
    assert all(value.dtype == torch.float32 for value in losses.values())
    sum(losses.values()).backward()
    assert head.refinement.reg_offset.weight.grad.isfinite().all()


def test_autocast_does_not_narrow_the_distances_of_a_distribution():
    head, raw = small_head("tal_v8"), torch.randn(1, 4 * 16, 2, 2, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        distances = head._distances(raw, 64)
    assert torch.equal(distances, head._distances(raw, 64))


def test_the_last_convolution_of_a_tower_may_be_deformable():
    tower = make_tower(CHANNELS, 8, 2, norm_groups=2, bias=True, deformable=True)
    assert [type(layer.conv).__name__ for layer in tower] == ["Conv2d", "ModulatedDeformConv2dPack"]
    head = small_head("dw", stacked_convs=2, dcn_on_last_conv=True, conv_bias=True)
    losses = head.loss(features(), TARGETS)
    sum(losses.values()).backward()
    for tower in (head.cls_convs, head.reg_convs):
        assert tower[-1].conv.weight.grad.count_nonzero() > 0
        assert tower[-1].conv.conv_offset.weight.grad.isfinite().all()


def test_a_finished_assigner_is_the_heads_own_and_its_parameters_too():
    assigner = build("dw", num_classes=CLASSES, prior={"learnable": True})
    head = small_head(assigner)
    assert head.assigner is assigner
    assert "assigner.matching.sigma" in dict(head.named_parameters())
    sum(head.loss(features(), TARGETS).values()).backward()
    assert head.assigner.matching.sigma.grad.count_nonzero() > 0


def test_assigning_what_the_head_predicted_gives_its_loss():
    head = small_head("fcos")
    predictions = head(features())
    assignment, losses = head.assign_and_loss(predictions, TARGETS)
    assert assignment.pairs_per_target(TARGETS)[0].min() > 0
    for name, value in head.loss(features(), TARGETS).items():
        assert torch.equal(value, losses[name])


TWO_HEADED = ["yolov10", "yolo26"]


@pytest.mark.parametrize("assigner", TWO_HEADED)
def test_a_second_head_trains_the_features_and_the_first_detects(assigner):
    head, maps = small_head(assigner), [f.requires_grad_() for f in features()]
    predictions = head(maps)
    predictions.logits.sum().backward()
    assert all(each.grad is None for each in maps)
    predictions.auxiliary.logits.sum().backward()
    assert all(each.grad.count_nonzero() > 0 for each in maps)
    assert predictions.auxiliary.boxes.shape == predictions.boxes.shape
    assert not torch.equal(predictions.auxiliary.logits, predictions.logits)


@pytest.mark.parametrize("assigner", TWO_HEADED)
def test_two_heads_have_their_losses_and_one_is_left_aside_at_inference(assigner):
    head = small_head(assigner)
    losses = head.loss(features(), TARGETS)
    own = {name for name in losses if not name.endswith("_many")}
    assert set(losses) == own | {f"{name}_many" for name in own}
    assert head.eval()(features()).auxiliary is None
    assert set(head.loss(features(), TARGETS)) == own


def test_any_two_assigners_share_the_features():
    head = small_head("atss", one_to_one="hungarian+dual+sigmoid_objectness")
    losses = head.loss(features(), TARGETS)
    assert {"loss_cls_pos", "loss_box", "loss_cls_pos_many", "loss_centerness_many"} <= set(losses)
    assert "loss_centerness" not in losses
    assert head.assigner.cardinality == "one-to-one"
    assert head.branch == "objectness"
    assert head.auxiliary.branch == "centerness"
    assert small_head("atss").auxiliary is None


def test_a_dict_may_name_the_one_to_one_assigner():
    head = small_head({"type": "atss", "one_to_one": "hungarian+focal"})
    named = small_head("atss", one_to_one="hungarian+focal")
    assert repr(head.assigner) == repr(named.assigner)
    assert head.loss(features(), TARGETS) == named.loss(features(), TARGETS)


def test_a_branch_of_ones_choice_is_that_of_both_heads():
    head = small_head("fcos", one_to_one="hungarian+focal", branch="iou")
    assert {"loss_iou", "loss_iou_many"} <= set(head.loss(features(), TARGETS))


@pytest.mark.parametrize(("assigner", "bins"), [("tal_v8", 16), ("yolov10", 16), ("yolo26", None), ("fcos", None)])
def test_a_distribution_has_as_many_bins_as_the_assigner_asks_for(assigner, bins):
    head = small_head(assigner)
    assert head.bins == bins
    assert head.conv_reg.out_channels == 4 * (bins or 1)
    assert small_head("tal_v8", bins=8)(features()).distribution.shape[-1] == 8

"""RFLA and NWD with ranking against their authors' code: similarities, pairs, ignored samples, losses, gradients."""

import pytest
import torch
from support.dense import check_gradients, class_loss, flat, leaves, set_focal, targets_of
from support.golden import cases, keyed_cases

from detassign.assigners import BOX_LOSSES, SIMILARITIES, MaxIoU, Predictions, Ranking, build
from detassign.assigners.boxes import ciou, diou, giou, iou, side_distances
from detassign.assigners.matching.receptive_field import ReceptiveField, resized
from detassign.assigners.weighting.common import count_positives

IGNORED = -2
BOX_MEASURES = {"iou": iou, "giou": giou, "diou": diou, "ciou": ciou}


def index_of(matches, samples):
    """(B, N) the object of every sample, BACKGROUND or IGNORED."""
    found = torch.full((samples.shape[0], samples.shape[1]), -1)
    if matches.ignored is not None:
        found[matches.ignored] = IGNORED
    found[matches.image, matches.sample] = matches.target
    return found


def on_priors(priors, images, classes):
    """Predictions that have nothing but prior boxes (N, 4)."""
    shape = images, len(priors)
    points = (priors[:, :2] + priors[:, 2:]) / 2
    zeros = torch.zeros(*shape, 4)
    return Predictions(torch.zeros(*shape, classes), zeros, None, points, torch.ones(len(priors)), priors=priors)


def fcos_setting(case):
    """Predictions of RFLA's FCOS head, targets, and the maps that they are made of."""
    maps = leaves(case, "cls", "dist", "centerness")
    points, strides = case.tensor("input/points"), case.tensor("input/strides")
    distances = flat(maps["dist"]) * strides[:, None]
    boxes = torch.cat([points - distances[..., :2], points + distances[..., 2:]], -1)
    sizes = tuple(m.shape[-2] * m.shape[-1] for m in maps["cls"])
    objectness = flat(maps["centerness"])[..., 0]
    predictions = Predictions(flat(maps["cls"]), boxes, objectness, points, strides, sizes)
    return predictions, targets_of(case, case.config["batch"]), maps


def fields_of_levels(case):
    """The recorded fields of the head's levels, by their strides; those of P2 to P7 have strides 4 to 128."""
    return [case.config["trf_p2_to_p7"][stride.bit_length() - 3] for stride in case.config["strides"]]


def original(case, carry_over):
    """The preset with the constants of the recording."""
    config = case.config
    first, second = config["topk"]
    choices = {"metric": config["metric"], "k": first, "fraction": config["fraction"], "carry_over": carry_over}
    assigner = build("rfla_original", config["num_classes"], fields=fields_of_levels(case), **choices)
    assigner.matching.shrunk_k, assigner.matching.shrink = second, config["ratio"]
    set_focal(assigner.weighting, config["focal_alpha"], config["focal_gamma"])
    return assigner


@pytest.mark.parametrize("case", cases("dense_assign", "rfla_*"))
def test_receptive_fields_and_their_similarities_equal_rflas(case):
    predictions, targets, _ = fcos_setting(case)
    usual, listed = (ReceptiveField(fields=f).fields_of(predictions)[0] for f in (None, fields_of_levels(case)))
    torch.testing.assert_close(listed, case.tensor("input/rf"), rtol=0, atol=0)
    torch.testing.assert_close(usual, listed)
    matching, before = original(case, carry_over=True).matching, 0
    for image in range(case.config["batch"]):
        boxes = targets.boxes[image][targets.mask[image]]
        if f"match/{image}/rfd" in case:
            fields = resized(listed, case.config["ratio"] ** before)
            for key, now in (("rfd", fields), ("rfd_decayed", resized(fields, case.config["ratio"]))):
                case.check(f"match/{image}/{key}", matching.first.metric(boxes[:, None], now[None]), f"match/*/{key}")
        before += len(boxes) > 0


@pytest.mark.parametrize("carry_over", [True, False], ids=["official", "fresh"])
@pytest.mark.parametrize("case", cases("dense_assign", "rfla_*"))
def test_rfla_equals_its_fcos_head(case, carry_over):
    prefix = "" if carry_over else "fresh/"
    predictions, targets, maps = fcos_setting(case)
    assigner = original(case, carry_over)
    assignment, losses = assigner.assign_and_loss(predictions, targets)

    matches = assignment.matches
    case.check(f"{prefix}target/gt_index", index_of(matches, predictions.logits))
    assert matches.ignored is None
    distances = torch.zeros_like(predictions.boxes)
    points, strides = predictions.points[matches.sample], predictions.strides[matches.sample]
    distances[matches.image, matches.sample] = side_distances(points, matches.target_boxes(targets)) / strides[:, None]
    if f"{prefix}target/distances" in case:
        case.check(f"{prefix}target/distances", distances)
    case.check(f"{prefix}norm/num_pos", assignment.normalizers[0])
    assert count_positives(matches, predictions, floor_per_image=False) == len(matches.image)
    case.check(f"{prefix}norm/centerness_sum", assignment.normalizers[2])
    case.check(f"{prefix}loss/loss_cls", class_loss(losses))
    case.check(f"{prefix}loss/loss_bbox", losses["loss_box"])
    case.check(f"{prefix}loss/loss_centerness", losses["loss_centerness"])
    if carry_over and "grad/cls/0" in case:
        sum(losses.values()).backward()
        check_gradients(case, maps)


@pytest.mark.parametrize("case", cases("dense_assign", "rfla_*"))
def test_the_first_step_alone_equals_rflas(case):
    predictions, targets, _ = fcos_setting(case)
    matching = original(case, carry_over=True).matching
    there = targets.mask.any(1)
    before = there.long().cumsum(0) - there.long()
    fields = resized(matching.fields_of(predictions), (matching.shrink**before)[:, None, None])
    found = index_of(matching.first.of_priors(fields, predictions, targets)[0], predictions.logits)
    for image in range(case.config["batch"]):
        if f"match/{image}/step1" in case:
            case.check(f"match/{image}/step1", found[image])


@pytest.mark.parametrize(("case", "metric"), keyed_cases("dense_assign", "rfla_*", r"rpn/(\w+)/gt_index"))
def test_rfla_on_anchors_equals_its_proposal_network(case, metric):
    config, targets = case.config, targets_of(case, case.config["batch"])
    predictions = on_priors(case.tensor("rpn/anchors"), config["batch"], config["num_classes"])
    first, second = config["topk"]
    constants = {"shrink": config["ratio"], "fraction": config["fraction"], "ignore_above": config["ignore_above"]}
    matching = ReceptiveField(metric, first, second, ties="join", conflict="last", **constants)
    case.check(f"rpn/{metric}/gt_index", index_of(matching(predictions, targets), predictions.logits))
    fields = resized(matching.fields_of(predictions), matching.shrink)
    case.check(f"rpn/{metric}/overlaps", matching.second.of_priors(fields, predictions, targets)[1])


@pytest.mark.parametrize(("case", "k"), keyed_cases("dense_assign", "nwd_rka_*", r"rka(\d+)/gt_index"))
def test_ranking_equals_nwd_rkas(case, k):
    config, targets = case.config, targets_of(case, case.config["batch"])
    predictions = on_priors(case.tensor("input/anchors"), config["batch"], config["num_classes"])
    metric = {"type": "nwd", "constant": config["rka_constant"]}
    matching = Ranking(metric, int(k), config["rka_negative_below"], ties="join", conflict="last")
    case.check(f"rka{k}/gt_index", index_of(matching(predictions, targets), predictions.logits))
    if f"rka{k}/overlaps" in case:
        _, highest = matching.of_priors(predictions.priors[None], predictions, targets)
        case.check(f"rka{k}/overlaps", highest)


@pytest.mark.parametrize(("case", "metric"), keyed_cases("dense_assign", "nwd_rka_*", r"(nwd|dotd)/gt_index"))
def test_thresholds_on_nwd_and_dotd_equal_the_originals(case, metric):
    config, targets = case.config, targets_of(case, case.config["batch"])
    predictions = on_priors(case.tensor("input/anchors"), config["batch"], config["num_classes"])
    similarity = {"type": metric, "constant": config[f"{metric}_constant"]}
    thresholds = config["maxiou_pos"], config["maxiou_neg"], config["maxiou_min_pos"]
    matching = MaxIoU(*thresholds, conflict="last", metric=similarity)
    case.check(f"{metric}/gt_index", index_of(matching(predictions, targets), predictions.logits))
    measured = SIMILARITIES.build(similarity)(targets.boxes[:, :, None], predictions.priors[None, None])
    case.check(f"{metric}/overlaps", measured.masked_fill(~targets.mask[..., None], 0).amax(1))


@pytest.mark.parametrize("case", cases("dense_assign", "nwd_distance*"))
def test_similarities_equal_the_authors(case):
    boxes, others = case.tensor("input/boxes1")[:, None], case.tensor("input/boxes2")[None]
    for name in ("kl", "kl_10", "exp_kl", "wd"):
        case.check(f"rfla/{name}", SIMILARITIES.build(name)(boxes, others))
    for constant in case.config["constants"]:
        ending = f"c{constant}".replace(".", "_")
        for name in ("nwd", "dotd"):
            case.check(f"{name}_{ending}", SIMILARITIES.build({"type": name, "constant": constant})(boxes, others))
    case.check(
        "nwd_repo/wasserstein",
        SIMILARITIES.build({"type": "nwd", "constant": case.config["loss_constant"]})(boxes, others),
    )


@pytest.mark.parametrize("name", BOX_MEASURES)
@pytest.mark.parametrize("case", cases("dense_assign", "nwd_distance*"))
def test_overlaps_of_proper_boxes_equal_the_authors(case, name):
    boxes, others = case.tensor("input/boxes1")[:, None], case.tensor("input/boxes2")[None]
    proper = [(each[..., 2:] > each[..., :2]).all(-1) for each in (boxes, others)]
    kept = proper[0] & proper[1]
    entry = case.sidecar["tolerance"][f"aitod/{name}"]
    ours = BOX_MEASURES[name](boxes, others).clamp(-1, 1)
    torch.testing.assert_close(ours[kept], case.tensor(f"aitod/{name}")[kept], rtol=entry["rtol"], atol=entry["atol"])


@pytest.mark.parametrize("form", ["exp", "sqrt", "log", "norm_sqrt", "w2"])
@pytest.mark.parametrize("case", cases("dense_assign", "nwd_distance*"))
def test_nwd_losses_equal_the_authors(case, form):
    predicted = case.leaf("input/loss_pred")
    loss = BOX_LOSSES.build(
        {"type": "nwd", "form": form, "constant": case.config["loss_constant"], "eps": case.config["loss_eps"]}
    )(predicted, case.tensor("input/loss_target"))
    case.check(f"loss/{form}", loss)
    loss.sum().backward()
    case.check(f"grad/{form}", predicted.grad)

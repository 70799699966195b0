"""The matchings of the DETR family's later members: pairs, losses and gradients as their own code recorded them."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.golden import cases
from support.query_assign import (
    DETREX,
    RT_DETR,
    Checked,
    Output,
    corners,
    match_costs,
    outputs,
    recorded_permutations,
)

from detassign.assigners import (
    Assigner,
    Hungarian,
    Matches,
    Noise,
    OnPriors,
    Predictions,
    Thresholded,
    build,
    focal,
    ia_bce,
)
from detassign.assigners.matching.merged import merged

EPS = 1e-6  # added to union and hull of boxes as shares of the image in detrex, which Align-DETR's code stands on
NAMES = ("loss_ce", "loss_bbox", "loss_giou")
PARITY = {"sampling": "random", "duplicates": "first", "minimum": 0.0}
BRANCH = {**DETREX, "o2m": ("_{}_one2many", "_one2many")}


def cases_with(pattern, wanted):
    """The cases of a pattern for which `wanted` holds."""
    return [each for each in cases("query_assign", pattern) if each.values[0] is None or wanted(each.values[0])]


def focal_assigner(case, coefficients, matching="hungarian"):
    """Focal loss by the number of objects, and the box losses, with coefficients of classes, L1 and GIoU."""
    of_classes, l1, giou = coefficients
    constants = {name: float(value) for name, value in case.config["focal"].items()}
    weighting = focal(**constants, class_scale=float(of_classes), count="targets_once")
    return Assigner(matching, weighting, box_loss={"relative_l1": l1, "relative_giou": giou})


def checked_under(case, coefficients, endings=DETREX):
    return Checked(case, endings, dict(zip(NAMES, coefficients, strict=True)))


def align_pairs(output, copies, carry):
    """The pairs of every layer by itself, of as many copies as the layer has."""
    matchings = (Hungarian(match_costs(output.case, EPS), k, share=0.5, carry=carry) for k in copies)
    found = [matching(*output.layer(index)) for index, matching in enumerate(matchings)]
    found = [replace(pairs, image=pairs.image + index * output.images) for index, pairs in enumerate(found)]
    return Matches(*(torch.cat([getattr(p, n) for p in found]) for n in ("image", "sample", "target", "score")))


@pytest.mark.parametrize("case", cases("query_assign", "align_detr_*"))
def test_copies_equal_align_detrs(case):
    """With the fewer copies that images hand on; and without, in the images whose own they are."""
    of_encoder, *of_layers = case.config["match_number"]
    for output in outputs(case, "", "enc"):
        copies = [of_encoder] if output.kind else of_layers
        original, ours = (align_pairs(output, copies, carry) for carry in (True, False))
        output.check_pairs(original)
        samples = output.predictions.logits.shape[1]
        for place, (name, image, at) in enumerate(output.places()):
            objects, k = int(output.targets.mask[at].sum()), copies[place // output.images]
            own = max(min(int(0.5 * samples / max(objects, 1)), k), 1)
            assert (ours.image == at).sum() == min(own * objects, samples)
            if int(case.arrays.get(f"copies/{name}/{image}", 0)) == own:
                np.testing.assert_array_equal(*(output.pairs_of(pairs, image, at) for pairs in (ours, original)))


@pytest.mark.parametrize("case", cases("query_assign", "h_detr_*"))
def test_copies_equal_h_detrs(case):
    """The branch's losses are divided by all copies, matched or not, and recorded times a factor."""
    config = case.config
    scales, factor = [config["coefficients"][name] for name in NAMES], config["lambda_one2many"]
    checked, copies = checked_under(case, scales, BRANCH), config["k_one2many"]
    main = focal_assigner(case, scales, Hungarian(match_costs(case)))
    for output in outputs(case, "", "enc"):
        if output.kind == "enc":
            output.without_classes()
        checked.add(output, main, "norm/o2o")
    branch = Output(case, "o2m", copies=copies)
    pairs = Hungarian(match_costs(case), copies, share=None)(branch.predictions, Output(case, "o2m").targets)
    branch.check_pairs(pairs)
    weighted = focal_assigner(case, [scale * factor for scale in scales])
    checked.add(branch, weighted, "norm/o2m", pairs, weighed=focal_assigner(case, scales))
    checked.check_total()
    checked.check_gradients()


@pytest.mark.parametrize("case", cases("query_assign", "group_detr_*"))
def test_groups_equal_group_detrs(case):
    """Every object is there once for each group that losses are averaged over."""
    groups = case.config["groups"] if case.config["training"] else 1
    output, scales = Output(case, copies=groups), [case.config["coefficients"][name] for name in NAMES]
    assigner = focal_assigner(case, scales, Hungarian(match_costs(case)))
    checked, pairs = checked_under(case, scales), output.match_in_groups(assigner.matching, groups)
    output.check_pairs(pairs)
    checked.add(output, assigner, "norm", pairs)
    checked.check_total()
    checked.check_gradients()


class Permutations(Noise):
    """The order in which an original drew the positives of every image, as numbers to sort them by."""

    def __init__(self, permutations):
        super().__init__()
        self.permutations = list(permutations)

    def uniform(self, shape, like):
        numbers = torch.ones(shape)
        for row in numbers:
            order = self.permutations.pop(0)
            row[order] = torch.arange(len(order)) / len(row)
        return numbers


def deta_stage(case, kind):
    """The matching of a stage with its recorded draws, of positives and of negatives for every image with objects.

    The decoder's come first, and it draws for images without objects too.
    """
    config, drawn = case.config, iter(recorded_permutations(case)[::2])
    of_decoder = [next(drawn) for _ in config["objects"]]
    if kind == "":
        stage, permutations = config["stage2"], of_decoder
        threshold, limit = stage["threshold"], stage["positive_fraction"]
    else:
        stage, none = config["stage1"], torch.zeros(0, dtype=torch.long)
        permutations = [next(drawn) if objects else none for objects in config["objects"]]
        threshold, limit = stage["t_high"], int(stage["sample"] * stage["positive_fraction"])
    noise = Permutations(permutations)
    matching = Thresholded(threshold, stage["max_k"], limit=limit, noise=noise, conflict="class_of_last", **PARITY)
    return OnPriors(matching, once=True)


@pytest.mark.parametrize("case", cases_with("deta_*", lambda case: "input/init_reference" in case))
def test_thresholds_equal_detas(case):
    """Of initial proposals for all layers of the decoder, of unrefined anchors for the encoder."""
    scales = [case.config["coefficients"][name] for name in NAMES]
    checked = checked_under(case, scales)
    for kind, start, name in (("", "input/init_reference", "dec"), ("enc", "input/enc/anchors", "enc")):
        output = Output(case, kind)
        output.start_from(corners(case.tensor(start)))
        if kind == "enc":
            output.without_classes()
        assigner = focal_assigner(case, scales, deta_stage(case, kind))
        matches = assigner.match(output.predictions, output.targets)
        output.check_pairs(matches.of_boxes, name)
        checked.add(output, assigner, "norm", matches)
    checked.check_total()
    checked.check_gradients()


@pytest.mark.parametrize("case", cases_with("deta_*", lambda case: "input/init_reference" in case))
def test_the_preset_is_detas_wherever_that_is_not_odd(case):
    """In images without draws, identical boxes, objects that nothing touches and queries of two objects."""
    stage, output = case.config["stage2"], Output(case)
    scales = [case.config["coefficients"][name] for name in NAMES]
    constants = {"threshold": stage["threshold"], "k": stage["max_k"], "limit": stage["positive_fraction"]}
    assigner, original = build("deta", case.config["num_classes"], **constants), focal_assigner(case, scales)
    for part in ("weighting", "box_loss"):
        assert repr(getattr(assigner, part)) == repr(getattr(original, part))
    output.start_from(corners(case.tensor("input/init_reference")))
    matches = assigner.match(output.predictions, output.targets)
    for _, image, at in output.places():
        if not is_odd(case, image):
            recorded = case.arrays[f"canonical/dec/{image}"]
            np.testing.assert_array_equal(output.pairs_of(matches, image, at), recorded)


def is_odd(case, image):
    boxes, overlap = case.tensor(f"target/{image}/boxes"), case.arrays[f"iou/dec/{image}"]
    limit = int(case.config["stage2"]["positive_fraction"] * case.config["queries"])
    drawn, shared = len(recorded_permutations(case)[::2][image]) > limit, len(case.arrays[f"conflict/dec/{image}"])
    return drawn or shared or len(boxes.unique(dim=0)) < len(boxes) or (overlap.max(1) == 0).any()


def one_to_many(output, limit, conflict):
    """Thresholds of a score of IoU and P with the recorded draws, which were for the last layer first."""
    drawn, rule = recorded_permutations(output.case)[::2], output.case.config["o2m"]
    layers = [(layer + 1) % output.layers for layer in range(output.layers)]
    noise = Permutations(drawn[layer * output.images + image] for layer in layers for image in range(output.images))
    settings = {**PARITY, "low_quality": "one", "conflict": conflict, "limit": limit, "noise": noise}
    return Thresholded(rule["threshold"], rule["k"], rule["class_weight"], **settings)


def check_scores(output, matching, predictions):
    """Every score that was recorded is the matching's."""
    scores = matching.scores(predictions, output.targets)
    for name, image, at in output.places():
        recorded = output.case.arrays[f"score/{name}/{image}"]
        output.case.check(f"score/{name}/{image}", scores[at, : len(recorded)])


@pytest.mark.parametrize("case", cases("query_assign", "ms_detr_*"))
def test_thresholds_equal_ms_detrs(case):
    """Beside one-to-one pairs, which may be merged in, and pairs of the encoder's anchors."""
    config, main, output = case.config, Output(case), Output(case, "o2m")
    checked = checked_under(case, config["coefficients"]["o2o"])
    one_to_one = focal_assigner(case, config["coefficients"]["o2o"], Hungarian(match_costs(case)))
    pairs = checked.add(main, one_to_one, "norm").matches

    matching = one_to_many(output, config["o2m"]["positive_fraction"], "class_of_best")
    check_scores(output, matching, output.predictions)
    matches = matching(output.predictions, output.targets)
    output.check_pairs(matches.of_boxes)
    if config["indices_merge"]:
        matches = merged(matches, pairs, output.predictions)
        for name, image, at in output.places():
            recorded = output.canonical(image, *case.arrays[f"merged/{name}/{image}"])
            np.testing.assert_array_equal(output.pairs_of(matches, image, at), recorded)
    for each, name, known in ((output, "o2m", matches), *((each, "enc", None) for each in outputs(case, "enc"))):
        scales = dict(zip(NAMES, config["coefficients"][name], strict=True))
        assigner = focal_assigner(case, scales.values())
        if name == "enc":
            each.without_classes()
            each.start_from(corners(case.tensor("input/enc/anchors")))
            assigner.matching = OnPriors(Hungarian(match_costs(case, name="enc_match_cost")))
        checked.add(each, assigner, "norm", known, scales)
    checked.check_total()
    checked.check_gradients()


def ia_bce_assigner(case, rank_decay=None):
    """DAC-DETR's weighting, with ranks or without, and its box losses."""
    constants, (of_classes, l1, giou) = case.config["ia_bce"], case.config["coefficients"].values()
    alpha, gamma, floor = (float(constants[name]) for name in ("alpha", "gamma", "floor"))
    settings = {"rank_decay": rank_decay, "class_scale": float(of_classes), "count": "targets_once"}
    weighting = ia_bce(alpha, 1 - alpha, floor, gamma, **settings)
    return Assigner(Hungarian(match_costs(case)), weighting, box_loss={"relative_l1": l1, "relative_giou": giou})


@pytest.mark.parametrize("case", cases("query_assign", "dac_detr_*"))
def test_thresholds_equal_dac_detrs(case):
    """Scores are of the main decoder's boxes and the auxiliary one's classes, whose losses count every object three times.

    A class that a query learns of two objects is the later one's in the original, the better one's here.
    """
    config, main = case.config, Output(case)
    checked = Checked(case, {"": ("_{}_one2one", "_one2one"), "c": ("_{}", "")}, config["coefficients"])
    checked.add(main, ia_bce_assigner(case), "norm/o2o")

    output, counted = Output(case, "c"), Output(case, "c", copies=config["balance"])
    limit = int(re.search(r"= (\d+)", config["o2m"]["sample_cap"]).group(1))
    matching = one_to_many(output, limit, "all")
    check_scores(output, matching, replace(output.predictions, boxes=main.predictions.boxes))
    output.start_from(main.predictions.boxes)
    pairs = OnPriors(matching)(output.predictions, output.targets)
    output.check_pairs(pairs)
    entries = torch.stack([pairs.image, pairs.sample, pairs.labels(output.targets)])
    learned_twice = len(entries.unique(dim=1).T) < len(entries.T)
    scales = {name: scale for name, scale in checked.scales.items() if name != "loss_ce" or not learned_twice}
    assignment = checked.add(counted, ia_bce_assigner(case, config["tau"]), "norm/o2m", pairs, scales)
    counted.check_box_weights(assignment)
    if not learned_twice:
        checked.check_total()
    checked.check_gradients(*["boxes"] * learned_twice)


class Stacked:
    """Outputs of as many samples as groups of one batch: the decoder's layers, the last of which is final, then the others."""

    def __init__(self, outputs):
        self.outputs, self.layers = outputs, [output.layers for output in outputs]
        decoder = outputs[0]
        parts = (torch.cat([getattr(o.predictions, name) for o in outputs]) for name in ("logits", "boxes"))
        self.predictions = Predictions(*parts, groups=sum(self.layers), final=decoder.layers - 1)
        self.targets = decoder.targets.first_images(decoder.images).repeat(sum(self.layers))

    def check_pairs(self, matches):
        start = 0
        for output in self.outputs:
            stop = start + output.layers * output.images
            own = matches.select((start <= matches.image) & (matches.image < stop))
            output.check_pairs(replace(own, image=own.image - start))
            start = stop

    def check_union(self, matches):
        """The pairs of the first layer are those recorded, but for samples with ties."""
        case, output = self.outputs[0].case, self.outputs[0]
        for image in range(output.images):
            pairs, recorded = output.pairs_of(matches, image, image), case.arrays[f"canonical/go/{image}"]
            free = ~np.isin(recorded[0], case.arrays[f"go_tie/{image}"])
            np.testing.assert_array_equal(pairs[0], recorded[0])
            np.testing.assert_array_equal(pairs[1, free], recorded[1, free])
            here = matches.image == image
            share = matches.score[here][matches.sample[here].argsort()]
            np.testing.assert_array_equal(torch.round(share * sum(self.layers)), case.arrays[f"go_count/{image}"])

    def recorded_union(self):
        """The pairs that every layer's boxes learned."""
        output = self.outputs[0]
        pairs = [output.case.tensor(f"match/go/{image}") for image in range(output.images)]
        image = torch.cat([torch.full_like(own[0], place) for place, own in enumerate(pairs)])
        return Matches(image, *torch.cat(pairs, 1), torch.ones(len(image))).repeat(sum(self.layers), output.images)


@pytest.mark.parametrize(
    "case",
    [each for name in ("dfine_*", "deim_*") for each in cases_with(name, lambda case: case.config["use_uni_set"])],
)
def test_unions_equal_d_fines_and_deims(case):
    """Its code settles ties by an unstable sort: losses are of the pairs recorded. They have their coefficients."""
    config, kind, batch = case.config, case.config["losses"][0], Stacked(outputs(case, "", "pre", "enc"))
    name, alpha = {"vfl": ("d_fine", config["alpha"]), "mal": ("deim", config["mal_alpha"])}[kind]
    assigner = build(name, config["num_classes"], alpha=1.0 if alpha is None else alpha, gamma=config["gamma"])
    matches = assigner.match(batch.predictions, batch.targets)
    batch.check_pairs(matches)
    batch.check_union(matches.of_boxes)
    matches = replace(matches, of_boxes=batch.recorded_union())
    assignment, losses = assigner.assign_and_loss(batch.predictions, batch.targets, matches)
    for which, key in ((0, "norm/match"), (2, "norm/go")):
        batch.outputs[0].check_norms(assignment, key, which)
    terms = {"loss_bbox": losses["loss_l1"], "loss_giou": losses["loss_giou"]}
    terms[f"loss_{kind}"] = losses["loss_cls_pos"] + losses["loss_cls_neg"]
    for official, values in terms.items():
        for output, own in zip(batch.outputs, values.split(batch.layers), strict=True):
            output.check_loss(official, own, RT_DETR)
    sum(values.sum() for values in terms.values()).backward()
    for output in batch.outputs:
        output.check_gradients()

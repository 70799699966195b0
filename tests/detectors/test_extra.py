"""What training adds to the queries: every kind on every family, dropped at inference without a trace."""

from dataclasses import replace

import pytest
import torch
from support.query import SMALL, batch, detector, total
from support.small import pairs

from detassign.assigners import EXTRAS
from detassign.detectors.targets import targets_of
from detassign.heads.query import stacked_predictions

COUNTS = {"full": (3, 2), "one_empty": (4, 0), "all_empty": (0, 0)}
ARGUMENTS = {
    "groups": {"k": 3},
    "branch": {"queries": 9, "repeat": 2},
    "path": {},
    "mixed": {"hidden": 8},
    "collaborative": {"norm_groups": 4, "least": 3, "most": 8},
}
ASSIGNERS = ("hungarian", "dw", "atss")
EVERY_KIND = (  # of queries, of attention and of encoder proposals
    "detr",
    "conditional_detr",
    "dn_detr_patterns",
    "dn_dab_deformable_encoder_only",
    "deformable_detr_two_stage",
    "dino_4scale",
)
PAIRS = [(f, n) for f in EVERY_KIND for n in ARGUMENTS if (f, n) != ("dn_dab_deformable_encoder_only", "path")]


def with_extra(family, *names, **arguments):
    return detector(family, extra={name: {**ARGUMENTS[name], **arguments} for name in names})


def test_every_extra_there_is_is_tested():
    assert set(ARGUMENTS) == set(EXTRAS)


@pytest.mark.parametrize(("family", "name"), PAIRS)
def test_every_parameter_learns_and_losses_keep_their_names(family, name):
    """Whatever the batch holds: distributed training finds nothing unused, and reduces losses entry by entry."""
    names = set()
    for counts in COUNTS.values():
        model = with_extra(family, name)
        losses = model.loss(*batch(*counts))
        names.add(tuple(losses))
        total(losses).backward()
        for key, parameter in model.named_parameters():
            assert parameter.grad is not None, key
            assert parameter.grad.isfinite().all(), key
    (found,) = names
    last = {key for key in found if key.endswith(f"_{name}")}
    assert {f"loss_cls_{name}", f"loss_giou_{name}", f"loss_l1_{name}"} <= last


@pytest.mark.parametrize(("family", "name"), PAIRS)
def test_inference_is_that_of_the_detector_without_it(family, name):
    """Bit for bit, from the same weights less those of the extra."""
    model, plain = with_extra(family, name).eval(), detector(family).eval()
    weights = {key: value for key, value in model.state_dict().items() if not key.startswith("extra.")}
    plain.load_state_dict(weights)
    images, samples = batch(3, 2)
    for own, other in zip(model.predict(images, samples), plain.predict(images, samples), strict=True):
        assert torch.equal(own.pred_instances.bboxes, other.pred_instances.bboxes)
        assert torch.equal(own.pred_instances.scores, other.pred_instances.scores)


@pytest.mark.parametrize(("family", "name"), PAIRS)
def test_the_detectors_own_losses_stay_what_they_are(family, name):
    """Nothing of an extra is seen by the detector's queries; groups share the weight of their losses."""
    model, plain = with_extra(family, name).eval(), detector(family).eval()
    plain.load_state_dict({key: value for key, value in model.state_dict().items() if not key.startswith("extra.")})
    both = []
    for each in (model, plain):
        torch.manual_seed(0)
        both.append(each.loss(*batch(3, 2)))
    share = 1 / ARGUMENTS["groups"]["k"] if name == "groups" else 1.0
    for key, loss in both[1].items():
        expected = loss if "_dn" in key else share * loss
        torch.testing.assert_close(both[0][key], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("assigner", ASSIGNERS)
@pytest.mark.parametrize("name", ARGUMENTS)
def test_an_extra_goes_with_any_assigner_and_learns_two_steps(name, assigner):
    model = detector("dino_4scale", assigner=assigner, extra={name: ARGUMENTS[name]})
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    for _ in range(2):
        optimizer.zero_grad()
        loss = total(model.loss(*batch(3, 2)))
        assert loss.isfinite()
        loss.backward()
        optimizer.step()
    found = model.eval().predict(*batch(3, 2))
    assert all(sample.pred_instances.bboxes.isfinite().all() for sample in found)


def test_an_extra_may_have_an_assigner_of_its_own():
    model = with_extra("dino_4scale", "path", assigner="atss")
    assert type(model.extra["path"].assigner.matching).__name__ == "ATSS"
    assert total(model.loss(*batch(3, 2))).isfinite()


def test_all_of_them_together():
    model = with_extra("dino_4scale", *ARGUMENTS)
    losses = model.loss(*batch(3, 2))
    plain = detector("dino_4scale").loss(*batch(3, 2))
    assert set(plain) < set(losses)
    total(losses).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_groups_do_not_see_each_other():
    """Changing the second group's queries leaves what the first and the third learn."""
    model = with_extra("dab_deformable_detr", "groups").eval()
    images, samples = batch(3, 2)
    targets = targets_of(samples)

    def extra_outputs():
        outputs = model._outputs(images, samples, targets.sizes, targets)
        return outputs.extra["groups"].outputs.apart(2)

    first = extra_outputs()
    with torch.no_grad():
        model.extra["groups"].rows[0].anchors.weight += 1.0
    second = extra_outputs()
    count = len(samples)
    assert not torch.allclose(first.logits[:, :count], second.logits[:, :count])
    torch.testing.assert_close(first.logits[:, count:], second.logits[:, count:], rtol=0, atol=1e-6)
    torch.testing.assert_close(first.boxes[:, count:], second.boxes[:, count:], rtol=0, atol=1e-6)


def test_boxes_of_a_group_learn_from_its_own_layers_alone():
    """Where they learn from the pairs of all layers, those of another group are other queries'."""
    model = detector("dab_deformable_detr", assigner="d_fine", extra={"groups": ARGUMENTS["groups"]}).eval()
    images, samples = batch(3, 2)
    targets = targets_of(samples)
    outputs = model._outputs(images, samples, targets.sizes, targets)
    assignment = model.bbox_head.assign_all_and_loss(outputs, targets)[0]["groups"]
    learned = assignment.matches.select(assignment.box > 0)
    extra, count = outputs.extra["groups"], len(samples)
    size, layers = extra.outputs.logits.shape[2] // extra.groups, len(extra.outputs.logits)
    for group in range(extra.groups):
        alone = extra.outputs._queries(slice(group * size, (group + 1) * size))
        own = model.bbox_head.assigner.match(stacked_predictions(alone, targets), targets.repeat(layers)).of_boxes
        here = learned.select(learned.image // count % extra.groups == group)
        image = here.image // (extra.groups * count) * count + here.image % count
        assert pairs(own) == pairs(replace(here, image=image))


def test_the_average_of_groups_and_their_sum():
    """Group DETR divides by all groups' objects, LW-DETR may add them up."""
    summed = with_extra("conditional_detr", "groups", average=False).eval()
    averaged = with_extra("conditional_detr", "groups").eval()
    averaged.load_state_dict(summed.state_dict())
    (one, other) = (each.loss(*batch(3, 2)) for each in (averaged, summed))
    for key, loss in one.items():
        torch.testing.assert_close(loss, other[key] / 3)


def queries_per_object(images, samples, **arguments):
    """(layers * B, M) how many queries of a branch learn each object, and the targets of the branch."""
    model = with_extra("dino_4scale", "branch", **arguments).eval()
    targets = targets_of(samples)
    extra = model._outputs(images, samples, targets.sizes, targets).extra["branch"]
    layers, width = SMALL.decoder_layers, targets.boxes.shape[1]
    predictions = stacked_predictions(extra.outputs, extra.targets)
    matches = model.bbox_head.assigner.match(predictions, extra.targets.repeat(layers))
    found = torch.zeros(layers * len(samples), width)
    ones = torch.ones(len(matches.image))
    return found.index_put_((matches.image, matches.target % width), ones, accumulate=True), extra.targets


def test_a_branch_gives_every_object_so_many_queries():
    found, targets = queries_per_object(*batch(3, 2), queries=12, repeat=3)
    assert targets.mask.sum(1).tolist() == [9, 6]
    assert found.tolist() == [[3, 3, 3], [3, 3, 0]] * SMALL.decoder_layers


@pytest.mark.parametrize("own", ["queries", "encoder", "heads"])
def test_objects_of_a_crowded_image_share_the_queries_of_a_branch(own):
    """None is left without any; the code of the papers leaves some."""
    crowd = batch(4, 2, 0)
    found, targets = queries_per_object(*crowd, queries=12, repeat=6, own=own)
    assert targets.mask.sum(1).tolist() == [12, 12, 0]
    assert found.tolist() == [[3, 3, 3, 3], [6, 6, 0, 0], [0, 0, 0, 0]] * SMALL.decoder_layers
    found, targets = queries_per_object(*crowd, queries=12, repeat=6, own=own, crowded="as_is")
    assert targets.mask.sum(1).tolist() == [24, 12, 0]
    assert found[0].sum() == 12
    assert (found[::3] < 3).any()


def test_more_objects_than_a_branch_has_queries_are_there_once_each():
    found, targets = queries_per_object(*batch(5, 1), queries=3, repeat=6)
    assert targets.mask.sum(1).tolist() == [5, 3]
    assert found.sum(1).tolist() == [3, 3] * SMALL.decoder_layers


def test_losses_of_a_crowded_branch_are_divided_by_what_is_there():
    model = with_extra("dino_4scale", "branch", queries=12, repeat=6).eval()
    images, samples = batch(4, 2)
    targets = targets_of(samples)
    outputs = model._outputs(images, samples, targets.sizes, targets)
    assignment = model.bbox_head.assign_all_and_loss(outputs, targets)[0]["branch"]
    assert assignment.normalizers[2].tolist() == [24.0] * SMALL.decoder_layers


@pytest.mark.parametrize("own", ["encoder", "heads"])
def test_a_branch_may_have_an_encoder_part_and_heads_of_its_own(own):
    model = with_extra("dino_4scale", "branch", own=own)
    losses = model.loss(*batch(3, 2))
    assert "loss_cls_enc_branch" in losses
    total(losses).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert ("extra.branch.head.boxes.0.layers.0.weight" in model.state_dict()) == (own == "heads")


@pytest.mark.parametrize(("extra", "shared"), [("branch", True), ("groups", False)])
def test_a_branch_proposes_from_the_detectors_projected_tokens_and_groups_from_their_own(extra, shared):
    """DDQ and Relation-DETR have further heads on the same encoder output, LW-DETR a projection per group."""
    arguments = {"own": "encoder"} if extra == "branch" else {}
    model = with_extra("dino_4scale", extra, **arguments)
    assert shared != any("tokens" in name for name in model.extra.state_dict())
    losses = model.loss(*batch(3, 2))
    losses[f"loss_cls_enc_{extra}"].backward()
    learned = model.queries.proposals.linear.weight.grad
    assert (learned is not None) == shared


def test_two_stage_groups_propose_by_themselves():
    losses = with_extra("dino_4scale", "groups").loss(*batch(3, 2))
    assert "loss_cls_enc_groups" in losses


def test_collaborative_losses_do_not_know_how_much_padding_there_is():
    """What learns of an image is then the same in any batch."""
    losses = []
    for least in (1, 60):
        model = with_extra("dino_4scale", "collaborative", least=least, most=300).eval()
        torch.manual_seed(0)
        losses.append(model.loss(*batch(3, 1)))
    for key, loss in losses[0].items():
        torch.testing.assert_close(losses[1][key], loss, rtol=1e-5, atol=1e-6)


def test_negatives_in_the_place_of_padding_learn_to_be_background():
    """As the authors have it by default."""
    losses = []
    for fill in ("padding", "negatives"):
        model = with_extra("dino_4scale", "collaborative", least=60, most=300, fill=fill).eval()
        losses.append(model.loss(*batch(0, 0)))
    assert losses[0]["loss_cls_collaborative"] == 0
    assert losses[1]["loss_cls_collaborative"] > 0


def test_a_collaborative_head_weighs_twice_as_much_for_every_layer_of_the_decoder():
    """12 times the usual weights in the paper's detectors."""
    model, deeper = (
        detector("dino_4scale", size=replace(SMALL, decoder_layers=layers), extra={"collaborative": arguments}).eval()
        for layers, arguments in (
            (3, {**ARGUMENTS["collaborative"], "dense_weight": 1 / 3}),
            (4, ARGUMENTS["collaborative"]),
        )
    )
    weights = {key: value for key, value in model.state_dict().items() if "decoder" not in key}
    deeper.load_state_dict(weights, strict=False)
    plain, weighted = (each.loss(*batch(3, 2)) for each in (model, deeper))
    for term in ("cls_pos", "cls_neg", "box", "centerness"):
        name = f"loss_{term}_dense_collaborative"
        torch.testing.assert_close(8 * plain[name], weighted[name])


@pytest.mark.parametrize("dense", ["dw", "tood", "gfl", "yolov10", "free_anchor", "atss+focal"])
def test_a_collaborative_head_has_any_dense_assigner(dense):
    model = with_extra("dino_4scale", "collaborative", dense=dense)
    losses = model.loss(*batch(3, 0))
    total(losses).backward()
    assert all(parameter.grad is not None for parameter in model.parameters() if parameter.requires_grad)


def test_two_collaborative_heads_have_losses_of_their_own():
    arguments = {"type": "collaborative", **ARGUMENTS["collaborative"]}
    losses = detector("dino_4scale", extra={"one": arguments, "two": {**arguments, "dense": "dw"}}).loss(*batch(3, 2))
    assert {"loss_cls_one", "loss_cls_two", "loss_box_dense_one", "loss_box_dense_two"} <= set(losses)


def test_positives_of_a_collaborative_head_are_at_anchors_on_their_objects():
    model = with_extra("deformable_detr_two_stage", "collaborative", most=300).eval()
    images, samples = batch(3, 2)
    targets = targets_of(samples)
    known = model._outputs(images, samples, targets.sizes, targets).extra["collaborative"].known
    assert known.positive.any(1).all()
    center = known.boxes[..., :2] * targets.sizes[:, None]
    box = targets.boxes.gather(1, known.target[..., None].expand(-1, -1, 4))
    within = ((box[..., :2] < center) & (center < box[..., 2:])).all(-1)
    assert within[known.positive].all()


def test_a_small_image_has_fewer_proposals_than_branch_and_detector_ask_for():
    model = detector("dino_4scale", size=replace(SMALL, queries=100), extra={"branch": {"queries": 90, "repeat": 2}})
    losses = model.loss(*batch(2, 1))
    total(losses).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("family", "extra", "sentence"),
    [
        ("detr", {"groups": {"k": 1}}, "k: expected a whole number of at least 2, got 1"),
        ("detr", {"branch": {"own": "all"}}, "own: expected one of queries, encoder, heads, got 'all'"),
        ("detr", {"branch": {"crowded": "some"}}, "crowded: expected one of fewer, as_is, got 'some'"),
        (
            "detr",
            {"branch": {"own": "encoder"}},
            "own: an encoder's head needs a two-stage detector, and this one has LearnedQueries; take queries",
        ),
        ("detr", {"dn": {"type": "branch"}}, "extra: 'dn' cannot be a name of one"),
        ("detr", {"decoder": {"type": "branch"}}, "extra: 'decoder' cannot be a name of one"),
        ("detr", {"mine_0": {"type": "branch"}}, "extra: 'mine_0' cannot be a name of one"),
        ("detr", "groups", "extra: expected a dict by name, such as"),
        ("detr", {"path": {"host": 3}}, "unknown parameter of extra 'path' 'host'; known: assigner, weight"),
        ("detr", {"brunch": {}}, "unknown extra 'brunch'; did you mean 'branch'"),
        ("dn_dab_deformable_encoder_only", {"path": {}}, "path: attention to levels"),
        ("dino_4scale", {"branch": {"assigner": "detr"}}, "needs other columns"),
        (
            "dino_4scale",
            {"collaborative": {"fill": "zeros"}},
            "norm_groups: 32 does not divide 16 channels; take 16, say",
        ),
        (
            "dino_4scale",
            {"collaborative": {"norm_groups": 4, "fill": "zeros"}},
            "fill: expected one of padding, negatives, got 'zeros'",
        ),
        (
            "dino_4scale",
            {"collaborative": {"norm_groups": 4, "least": 50, "most": 5}},
            "least: expected no more than most = 5, got 50",
        ),
        *(
            (
                "dino_4scale",
                {name: {**ARGUMENTS[name], "weight": weight}},
                f"weight: expected a positive number, got {weight}",
            )
            for name in ("branch", "path", "mixed", "collaborative")
            for weight in (0, -1)
        ),
        (
            "dino_4scale",
            {"collaborative": {"norm_groups": 4, "head": {"feat_channels": 18}}},
            "norm_groups: 4 does not divide 18 channels; take 2, say",
        ),
        *(
            (
                "dino_4scale",
                {"collaborative": {"norm_groups": 4, name: 0}},
                f"{name}: expected a positive number, got 0",
            )
            for name in ("dense_weight", "prior_scale")
        ),
    ],
)
def test_what_cannot_be_is_said(family, extra, sentence):
    with pytest.raises(ValueError, match=sentence):
        detector(family, extra=extra)

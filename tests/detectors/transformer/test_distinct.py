"""Queries that stay distinct from layer to layer."""

from dataclasses import replace

import pytest
import torch
from support.query import CLASSES, batch, detector, total

from detassign.detectors.targets import targets_of
from detassign.detectors.transformer import QueryDecoder
from detassign.detectors.transformer.attention import InFront, attend
from detassign.detectors.transformer.distinct import Distinct, sight_among

FAMILIES = (
    "deformable_detr_refine",
    "deformable_detr_two_stage",
    "dab_detr",
    "dn_dab_deformable_encoder_only",
    "dino_4scale",
    "dino_unshared_heads",
)
FEW, ALL = 0.05, 1.0  # IoUs that suppress nearly every query here, and none


def distinct(family, overlap, **arguments):
    model = detector(family, **arguments)
    model.decoder.distinct = Distinct(overlap)
    if overlap == FEW:  # of wide boxes, which overlap whatever the initial weights are
        for box in model.bbox_head.boxes:
            box.layers[-1].bias.data[2:] += 4
    return model


def outputs_of(model, *counts):
    images, samples = batch(*counts)
    targets = targets_of(samples)
    return model._outputs(images, samples, targets.sizes, targets)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_parameter_learns_and_losses_keep_their_names(family):
    names = set()
    for counts in ((3, 2), (4, 0), (0, 0)):
        model = distinct(family, FEW)
        losses = model.loss(*batch(*counts))
        names.add(tuple(losses))
        total(losses).backward()
        assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    assert names == {tuple(detector(family).loss(*batch(3, 2)))}


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_changes_where_no_queries_overlap_too_much(family):
    model, plain = distinct(family, ALL).eval(), detector(family).eval()
    both = []
    for each in (model, plain):
        torch.manual_seed(0)
        both.append(each.loss(*batch(3, 2)))
    for name, loss in both[1].items():
        torch.testing.assert_close(both[0][name], loss)
    (found, wanted) = (each.predict(*batch(3, 2)) for each in (model, plain))
    for own, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(own.pred_instances.scores, other.pred_instances.scores)


def test_fewer_and_fewer_queries_count_and_all_denoising_ones():
    _, outputs = outputs_of(distinct("dino_4scale", FEW), 3, 2).split()
    first, *others = outputs.valid.unbind()
    assert first.all()
    assert not others[0].all()
    assert all((before | ~after).all() for before, after in zip(outputs.valid[:-1], others, strict=True))
    assert outputs.valid.any(-1).all()
    assert outputs.with_encoder().valid[-1].all()


def test_queries_that_do_not_count_are_neither_trained_nor_detected():
    model = distinct("dino_4scale", FEW).eval()
    outputs = outputs_of(model, 3, 2)
    logits = outputs.logits.detach().requires_grad_()
    total(model.bbox_head.loss(replace(outputs, logits=logits), targets_of(batch(3, 2)[1]))).backward()
    count = outputs.denoising.boxes.shape[1]
    valid = outputs.valid[:, :, count:]
    assert not valid.all()
    assert torch.equal((logits.grad[:, :, count:] != 0).any(-1), valid)
    images, samples = batch(3, 2)
    kept = model.predictions(images, samples).valid.sum(1)
    found = [len(sample.pred_instances.scores) for sample in model.predict(images, samples)]
    assert found == [min(CLASSES * int(queries), model.post_process.max_per_image) for queries in kept]


def test_images_do_not_change_each_others_queries():
    model = distinct("dab_detr", FEW).eval()
    together, alone = outputs_of(model, 3, 2, 1).valid, outputs_of(model, 3).valid
    assert not alone.all()
    assert torch.equal(together[:, :1], alone)


def test_those_dropped_see_only_those_kept():
    assert sight_among(torch.tensor([[True, False, False]])).int().tolist() == [
        [[[1, 1, 1], [1, 0, 0], [1, 0, 0]]],
    ]


def test_a_mask_behind_denoising_queries_equals_one_of_all():
    generator = torch.Generator().manual_seed(0)
    count, queries = 3, 5
    inputs = torch.randn(3, 2, count + queries, 8, generator=generator)
    front = torch.rand(count, count + queries, generator=generator) < 0.5
    front.fill_diagonal_(True)
    others = sight_among(torch.tensor([[True, False, True, False, False], [False, True, False, False, True]]))
    whole = torch.zeros(2, 1, count + queries, count + queries, dtype=torch.bool)
    whole[:, :, :count] = front
    whole[:, :, count:, count:] = others
    found = attend(*inputs, heads=2, allowed=InFront(front, others), dropout=0.0)
    torch.testing.assert_close(found, attend(*inputs, heads=2, allowed=whole, dropout=0.0))


def test_a_query_dropped_before_suppresses_none():
    boxes = torch.tensor([0.5, 0.5, 0.2, 0.2]).expand(1, 3, 4)
    scores, counting = torch.tensor([[0.9, 0.2, 0.5]]), torch.tensor([[False, True, True]])
    kept, counts = Distinct(0.8)(boxes, scores, counting)
    assert kept.tolist() == counts.tolist() == [[False, False, True]]


def test_the_first_row_counts_all_where_the_first_query_is_kept():
    boxes = torch.tensor([0.5, 0.5, 0.2, 0.2]).expand(2, 2, 4)
    scores, counting = torch.tensor([[0.9, 0.2], [0.2, 0.9]]), torch.ones(2, 2, dtype=torch.bool)
    kept, counts = Distinct(0.8, first_row=True)(boxes, scores, counting)
    assert kept.tolist() == [[True, False], [False, True]]
    assert counts.tolist() == [[True, True], [False, True]]


@pytest.mark.parametrize("name", ["groups", "branch", "path", "mixed"])
def test_extra_queries_are_left_alone(name):
    """A branch wants several queries for an object."""
    arguments = {"groups": {"k": 3}, "branch": {"queries": 9, "repeat": 2}, "path": {}, "mixed": {"hidden": 8}}
    model = distinct("dino_4scale", FEW, extra={name: arguments[name]})
    outputs = outputs_of(model, 3, 2)
    assert outputs.extra[name].outputs.valid is None
    assert total(model.loss(*batch(3, 2))).isfinite()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"distinct": 0.8}, "distinct: compares the boxes of every layer; take refinement detached or forward_twice"),
        ({"distinct": 8, "refinement": "detached"}, "distinct: expected a number from 0 to 1, got 8"),
    ],
)
def test_what_cannot_be_is_said(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        QueryDecoder(channels=16, heads=2, layers=1, **arguments)

"""Whatever is registered, and every detector built of it, can be pickled, copied, and restored from its state dict."""

import copy
import io
import pickle
from dataclasses import replace

import pytest
import torch
from support.dense_detector import dense_detector
from support.query import VARIANTS, batch, detector, host, total
from support.random_batches import answer, built, every_spec, random_batch

from detassign.assigners import ASSIGNERS, BOX_LOSSES, COSTS, DENOISINGS, QUALITIES, Noise, registry
from detassign.assigners.losses import pair_distances
from detassign.assigners.registry import Registry

REGISTRIES = [value for value in vars(registry).values() if isinstance(value, Registry)]
ENTRIES = [pytest.param(one, name, id=f"{one.kind}-{name}") for one in REGISTRIES for name in one]
CUSTOM = {"type": "dw", "prior": {"learnable": True}, "top_k": 5, "weighting": {"quality": "predicted_iou"}}


def pickled(thing):
    return pickle.loads(pickle.dumps(thing))


def saved(module):
    """A module written by `torch.save` and read again."""
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


copies = pytest.mark.parametrize("copied", [pickled, copy.deepcopy, saved])


def same(one, other):
    return all(torch.equal(ours, theirs) for ours, theirs in zip(one, other, strict=True))


def test_all_registries_are_found():
    assert {"assigner", "box loss", "denoising", "matching", "weighting"} <= {one.kind for one in REGISTRIES}


@pytest.mark.parametrize(("kind", "name"), ENTRIES)
def test_everything_registered_can_be_pickled_and_copied(kind, name):
    part = kind.build(name, num_classes=3, host=host())
    for copied in (pickled(part), copy.deepcopy(part)):
        assert type(copied) is type(part)
        assert repr(copied) == repr(part)


@copies
@pytest.mark.parametrize("spec", [*every_spec(), CUSTOM], ids=str)
def test_the_copy_of_an_assigner_answers_as_the_assigner(spec, copied):
    assigner = built(spec)
    predictions, targets = random_batch(assigner)
    before = copied(assigner)
    wanted = answer(assigner, predictions, targets)
    assert same(answer(before, predictions, targets), wanted)
    assert same(answer(copied(assigner), predictions, targets), wanted)  # of one that has been used


@copies
def test_the_copy_of_a_term_answers_as_the_term(copied):
    predictions, targets = random_batch(built("fcos"))
    matches = built("fcos").match(predictions, targets)
    shape = (*predictions.boxes.shape, 8)
    predictions = replace(predictions, distribution=torch.randn(shape, generator=torch.Generator().manual_seed(0)))
    pairs = predictions, targets, matches
    for term in map(COSTS.build, COSTS):
        assert torch.equal(copied(term)(predictions, targets), term(predictions, targets))
    for term in map(BOX_LOSSES.build, BOX_LOSSES):
        assert torch.equal(pair_distances(copied(term), *pairs), pair_distances(term, *pairs))
    for term in map(QUALITIES.build, QUALITIES):
        assert torch.equal(copied(term)(*pairs), term(*pairs))


@copies
@pytest.mark.parametrize("name", DENOISINGS)
def test_the_copy_of_a_denoising_makes_the_same_queries(name, copied):
    denoise, (_, targets) = DENOISINGS.build(name), random_batch(built("fcos"))
    ours, theirs = (make(targets, 3, Noise(torch.Generator().manual_seed(0))) for make in (copied(denoise), denoise))
    assert same((ours.labels, ours.boxes, ours.target), (theirs.labels, theirs.boxes, theirs.target))


@pytest.mark.parametrize("spec", [*every_spec(), CUSTOM], ids=str)
def test_an_assigner_is_restored_from_its_state_dict(spec):
    assigner, other = built(spec), built(spec)
    for parameter in assigner.parameters():
        torch.nn.init.uniform_(parameter, 0.5, 1.0)
    other.load_state_dict(assigner.state_dict())
    predictions, targets = random_batch(assigner)
    assert same(answer(other, predictions, targets), answer(assigner, predictions, targets))


def check_copies(model, copied, images, samples):
    """The copy, made after a training step, detects what the model detects and restores from its weights."""
    loss = total(model.loss(images, samples))
    loss.backward()
    twin = copied(model)
    model.eval(), twin.eval()
    assert same(twin._forward(images), model._forward(images))
    twin.load_state_dict(model.state_dict())
    assert repr(twin) == repr(model)


@copies
@pytest.mark.parametrize("assigner", ASSIGNERS)
def test_a_dense_detector_can_be_copied(assigner, copied):
    check_copies(dense_detector(assigner, classes=4), copied, *batch(2, 1))


@copies
@pytest.mark.parametrize("family", VARIANTS)
def test_a_query_detector_can_be_copied(family, copied):
    check_copies(detector(family), copied, *batch(2, 1))

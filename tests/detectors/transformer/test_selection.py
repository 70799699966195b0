"""Which proposals become queries."""

import pytest
import torch
from support.query import batch, detector, total

from detassign.detectors.targets import targets_of
from detassign.detectors.transformer import SELECTIONS
from detassign.detectors.transformer.proposals import Proposals
from detassign.detectors.transformer.selection import NMS, LevelNMS
from detassign.heads.reference import inverse_sigmoid
from detassign.ops.suppression import survivors

SIZES = (12, 6, 3)


def random_proposals(images=3, sizes=SIZES, seed=0):
    """Proposals of boxes that overlap a lot."""
    generator = torch.Generator().manual_seed(seed)
    count = sum(sizes)
    boxes = inverse_sigmoid(0.4 + 0.1 * torch.rand(images, count, 4, generator=generator), 1e-3)
    rank = torch.randn(images, count, generator=generator)
    return Proposals(boxes, rank[..., None], boxes, boxes, torch.ones(count), sizes, rank)


def alone(proposals, image):
    """The proposals of one image."""
    parts = (getattr(proposals, name)[image : image + 1] for name in ("tokens", "logits", "boxes", "places"))
    return Proposals(*parts, proposals.strides, proposals.level_sizes, proposals.rank[image : image + 1])


def with_selection(select, family="dino_4scale", **arguments):
    model = detector(family, **arguments)
    model.queries.select = SELECTIONS.build(select)
    return model


@pytest.mark.parametrize("select", [NMS(0.6), LevelNMS(0.6, 5)], ids=repr)
@pytest.mark.parametrize("count", [1, 5, 21, 40])
def test_queries_are_different_tokens_and_no_more_than_there_are(select, count):
    chosen = select(random_proposals(), count)
    assert chosen.shape == (3, min(count, sum(SIZES)))
    assert all(len(image.unique()) == len(image) for image in chosen)


@pytest.mark.parametrize("select", [NMS(0.6), LevelNMS(0.6, 5)], ids=repr)
def test_an_image_is_selected_from_as_if_it_were_alone(select):
    proposals = random_proposals()
    together = select(proposals, 6)
    for image, chosen in enumerate(together):
        assert torch.equal(select(alone(proposals, image), 6)[0], chosen)


def test_nms_is_within_images_and_groups():
    box = torch.tensor([0.0, 0.0, 4.0, 4.0]).expand(2, 3, 4)
    scores = torch.tensor([[0.3, 0.9, 0.1], [0.5, 0.2, 0.1]])
    assert survivors(box, scores, 0.5).tolist() == [[False, True, False], [True, False, False]]
    groups = torch.tensor([0, 0, 1])
    assert survivors(box, scores, 0.5, groups, 2).tolist() == [[False, True, True], [True, False, True]]


def test_a_level_has_no_more_than_its_share_unless_others_leave_some():
    """Nothing overlaps too much here; the best two of every level of three, then the best of the rest."""
    rank = torch.arange(21.0).flip(0)[None]  # the finer the better
    proposals = random_proposals(1)
    proposals = Proposals(
        *(proposals.tokens, proposals.logits, proposals.boxes, proposals.places), torch.ones(21), SIZES, rank
    )
    assert LevelNMS(1.0)(proposals, 6).tolist() == [[0, 1, 12, 13, 18, 19]]
    assert LevelNMS(1.0)(proposals, 8).tolist() == [[0, 1, 2, 3, 12, 13, 18, 19]]
    assert LevelNMS(1.0)(proposals, 15).tolist() == [[*range(7), *range(12, 17), 18, 19, 20]]


def test_others_than_those_taken():
    proposals = random_proposals(1)
    order = proposals.rank.argsort(1, descending=True)[0].tolist()
    taken = torch.tensor([[order[0], order[2]]])
    assert proposals.choose(3, taken).chosen.tolist() == [[order[1], order[3], order[4]]]
    assert proposals.choose(21, taken).chosen.tolist() == [[order[1], *order[3:], order[0], order[2]]]


@pytest.mark.parametrize("select", SELECTIONS)
@pytest.mark.parametrize("extra", [None, "groups", "branch"])
def test_a_detector_learns_under_every_selection(select, extra):
    """Losses have the same names with objects and without, and every parameter has its gradient."""
    arguments = {"groups": {"k": 3}, "branch": {"queries": 9, "repeat": 2}}
    names = set()
    for counts in ((3, 2), (4, 0), (0, 0)):
        model = with_selection(select, extra={extra: arguments[extra]} if extra else None)
        losses = model.loss(*batch(*counts))
        names.add(tuple(losses))
        total(losses).backward()
        assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    assert len(names) == 1


def test_a_branch_takes_none_of_the_detectors_tokens():
    model = with_selection("level_nms(overlap=0.3)", extra={"branch": {"queries": 9, "repeat": 2}}).eval()
    images, samples = batch(3, 2)
    memory = []
    model.encoder.register_forward_hook(lambda *call: memory.append(call[-1]))
    model._outputs(images, samples, targets_of(samples).sizes)
    own = model.queries(memory[0], model.bbox_head).proposals
    branch = own.choose(9, taken=own.chosen).chosen
    assert not (own.chosen[:, :, None] == branch[:, None]).any()


@pytest.mark.parametrize(
    ("select", "sentence"),
    [
        ("nms(overlap=2)", "overlap: expected a number from 0 to 1, got 2"),
        ("level_nms(candidates=0)", "candidates: expected a whole number of at least 1, got 0"),
        ("nsm", "unknown selection 'nsm'; did you mean 'nms'"),
    ],
)
def test_what_cannot_be_is_said(select, sentence):
    with pytest.raises(ValueError, match=sentence):
        with_selection(select)

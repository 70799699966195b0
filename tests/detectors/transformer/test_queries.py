"""Where queries start."""

import pytest
import torch
from support.query import batch, detector

from detassign.assigners import Predictions
from detassign.detectors.transformer import TwoStageQueries
from detassign.detectors.transformer.memory import Memory
from detassign.heads import QueryHead


def encoded(model):
    """Two images as a detector's encoder sees them."""
    images = batch(2, 1)[0]
    sizes = images.new_tensor([[96.0, 64.0]] * 2)
    return model.encoder(model.neck(model.extract_feat(images)), sizes, images.shape[-2:], False)


@pytest.mark.parametrize(("assigner", "same_order"), [("hungarian", False), ("detr", True)])
def test_tokens_are_ranked_by_probability(assigner, same_order):
    """What is added to all logits of a token changes no probability of a softmax, and every one of sigmoids."""
    head = QueryHead(4, assigner, channels=8, layers=1, encoder="classes")
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 30, head.encoder_class.out_features, generator=generator)
    moved = logits + 5 * torch.randn(1, 30, 1, generator=generator)
    order, after = (head.ranking(values).amax(-1).argsort(-1) for values in (logits, moved))
    assert torch.equal(order, after) is same_order
    probability = head.assigner.score(Predictions(logits, torch.zeros(1, 30, 4))).probability.amax(-1)
    assert torch.equal(order, probability.argsort(-1))


def test_points_that_become_boxes_may_be_normed_between_layers():
    """References are points for the first layer and boxes for the others."""
    model = detector("deformable_detr_refine", "none")
    model.decoder.norm = torch.nn.LayerNorm(model.encoder.channels)
    losses = model.loss(*batch(2, 1))
    sum(losses.values()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.decoder.parameters())


def test_mixed_selection_learns_contents_and_makes_places():
    """Places are those that proposals of the same weights have, contents the table's, rank by rank."""
    model = detector("deformable_detr_two_stage", "none")
    mixed = TwoStageQueries(12, model.encoder.channels, rank_by="first", content="mixed")
    missing = mixed.load_state_dict(model.queries.state_dict(), strict=False).missing_keys
    assert missing == ["content.weight"]
    memory = encoded(model)
    ours, proposals = mixed(memory, model.bbox_head), model.queries(memory, model.bbox_head)
    assert torch.equal(ours.position, proposals.position)
    assert torch.equal(ours.anchors, proposals.anchors)
    assert torch.equal(ours.content, mixed.content.weight.expand(2, 12, -1))
    assert torch.equal(ours.position_of(ours.anchors), ours.position)


def test_mixed_selection_trains_with_denoising_queries():
    model = detector("deformable_detr_two_stage", "cdn")
    model.queries = TwoStageQueries(12, model.encoder.channels, rank_by="first", content="mixed")
    losses = model.loss(*batch(2, 1))
    sum(losses.values()).backward()
    assert model.queries.content.weight.grad.abs().sum() > 0
    assert all(parameter.grad is not None for parameter in model.queries.parameters())


def test_the_maps_of_a_memory_are_its_tokens_level_by_level():
    tokens = torch.arange(2 * 8 * 3.0).view(2, 8, 3)
    memory = Memory(tokens, None, ((2, 3), (1, 2)), (), (), False, (50, 90))
    fine, coarse = memory.maps
    assert fine.shape == (2, 3, 2, 3)
    assert coarse.shape == (2, 3, 1, 2)
    assert torch.equal(fine[:, :, 1, 2], tokens[:, 5])
    assert torch.equal(coarse[:, :, 0, 1], tokens[:, 7])
    assert memory.strides == (32, 64)


def test_contents_of_both_add_features_to_what_proposals_have():
    model = detector("deformable_detr_two_stage", "none")
    both = TwoStageQueries(12, model.encoder.channels, rank_by="first", content="both")
    missing = both.load_state_dict(model.queries.state_dict(), strict=False).missing_keys
    assert {name.split(".")[0] for name in missing} == {"from_token"}
    memory = encoded(model)
    ours, plain = both(memory, model.bbox_head), model.queries(memory, model.bbox_head)
    tokens = ours.proposals.tokens[torch.arange(2)[:, None], ours.proposals.chosen]
    torch.testing.assert_close(ours.content, plain.content + both.from_token(tokens))
    assert torch.equal(ours.position, plain.position)
    ours.content.sum().backward()
    assert both.from_token[0].weight.grad is not None
    assert all(parameter.grad is None for parameter in (*model.encoder.parameters(), *both.proposals.parameters()))


def test_mapped_contents_are_of_the_encoders_features_and_teach_it_nothing():
    model = detector("dino_4scale", "none")
    mapped = TwoStageQueries(12, model.encoder.channels, content="mapped")
    memory = encoded(model)
    queries = mapped(memory, model.bbox_head)
    rows = torch.arange(2)[:, None], queries.proposals.chosen
    torch.testing.assert_close(queries.content, mapped.from_memory(memory.features[rows]))
    queries.content.sum().backward()
    assert mapped.from_memory.weight.grad is not None
    assert all(parameter.grad is None for parameter in model.encoder.parameters())

"""mmdet's own models give the same numbers as this project's with their weights, converted."""

import pytest
import torch
from support import zoo

from detassign.detectors.targets import sizes_of
from detassign.engine.conversion.mmdet import from_dense, from_mmdet, settings_of

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


def converted(name, model, changes=None):
    """This project's detector with the weights of mmdet's, and the settings that conversion chooses."""
    state = model.state_dict()
    translation = from_mmdet(state)
    shared = not any(name.startswith("bbox_head.classes.1.") for name in translation.state)
    settings = {**settings_of(state), "model.head.shared": shared, **(changes or {})}
    labels = translation.state.get("denoising.labels.weight")
    if labels is not None:
        translation.state["denoising.labels.weight"] = torch.nn.functional.pad(labels, (0, 0, 0, 1))
    return zoo.build(zoo.ours(name, settings), translation.state)


@torch.no_grad()
def largest_differences(detector, model, *sizes):
    """Of logits and of boxes, over all decoder layers, in a batch with padding or of images of these sizes."""
    images, samples = zoo.padded_batch(*sizes)
    logits, boxes = zoo.their_outputs(model, images, samples)
    outputs = detector._outputs(images, samples, sizes_of(samples))
    return (outputs.logits - logits).abs().max().item(), (outputs.boxes - boxes).abs().max().item()


@pytest.mark.parametrize("name", zoo.FAMILIES)
def test_every_family_gives_mmdets_numbers(name):
    """All layers, two images of different size, some references at the very border."""
    model = zoo.theirs(name)
    assert max(largest_differences(converted(name, model), model)) < 2e-5


@pytest.mark.parametrize("overlap", [0.8, 0.1])
def test_ddq_gives_mmdets_numbers(overlap):
    """Chosen by NMS and kept distinct from layer to layer, by as much as the config in the checkpoint says.

    Tokens in the padding tie in every number, so which of them NMS keeps is chance: images fill their batch.
    """
    model = zoo.theirs("ddq", {"model.dqs_cfg.iou_threshold": overlap})
    settings = settings_of(model.state_dict(), {"dqs_cfg": {"iou_threshold": overlap}})
    assert max(largest_differences(converted("ddq", model, settings), model, ((96, 128), (96, 128)))) < 2e-5
    assert (overlap < 0.8) == any((~seen).any() for seen in model.cache_dict["distinct_query_mask"])


def test_dab_detr_with_patterns_gives_mmdets_numbers():
    model = zoo.theirs("dab_detr", {"model.num_patterns": 3})
    config = zoo.ours("dab_detr", {**settings_of(model.state_dict()), "model.queries.patterns": 3})
    detector = zoo.build(config, from_mmdet(model.state_dict()).state)
    assert max(largest_differences(detector, model)) < 2e-5


@pytest.mark.parametrize(
    ("name", "papers"),
    [
        ("dab_detr", {"model.head.refine_eps": None}),
        ("dino", {"model.head.eps": 1e-3}),
    ],
)
def test_mmdets_eps_is_not_the_papers(name, papers):
    """With one eps of 1e-3, as in the papers' code, boxes at the border differ from mmdet's."""
    model = zoo.theirs(name)
    assert max(largest_differences(converted(name, model, papers), model)) > 1e-2


@pytest.mark.parametrize("paper_like", [True, False])
def test_fcos_gives_mmdets_numbers(paper_like):
    """Plain FCOS (log distances, centerness beside the classes) and the form with normalised boxes."""
    model, detector = zoo.fcos_pair(paper_like)
    translation = from_dense(model.state_dict())
    detector.load_state_dict(translation.state)
    assert translation.dropped == {}
    images, _ = zoo.padded_batch()
    with torch.no_grad():
        features = model.extract_feat(images)
        logits, distances, centerness = (zoo.flat(levels) for levels in model.bbox_head(features))
        predictions = detector.predictions(images)
    points = torch.cat(model.bbox_head.prior_generator.grid_priors([f.shape[-2:] for f in features], device="cpu"))
    boxes = torch.cat((points - distances[..., :2], points + distances[..., 2:]), -1)
    torch.testing.assert_close(predictions.logits, logits, rtol=0, atol=2e-5)
    torch.testing.assert_close(predictions.boxes, boxes, rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(predictions.objectness, centerness[..., 0], rtol=0, atol=2e-5)

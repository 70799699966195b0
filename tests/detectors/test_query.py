"""Query detectors: complaints about other implementations, each settled for every family."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from support.query import KINDS, SMALL, VARIANTS, batch, detector, total

from detassign.detectors.transformer.queries import Queries

BATCHES = {"full": (3, 2), "one_empty": (4, 0), "all_empty": (0, 0)}


@pytest.mark.parametrize("denoising", KINDS)
@pytest.mark.parametrize("family", VARIANTS)
def test_two_steps_and_an_evaluation_run_for_every_family_and_denoising(family, denoising):
    """Any query detector takes any denoising; what it predicts has a score per class of the data."""
    model = detector(family, denoising)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=0.0)
    images, samples = batch(3, 2)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for _ in range(2):
        optimizer.zero_grad()
        loss = total(model.loss(images, samples))
        assert loss.isfinite()
        loss.backward()
        optimizer.step()
    moved = {name.partition(".")[0] for name, new in model.named_parameters() if not torch.equal(before[name], new)}
    parts = {"backbone", "neck", "encoder", "queries", "decoder", "bbox_head"}
    assert moved - {"denoising"} == parts
    assert ("denoising" in moved) == (denoising != "none")
    found = model.eval().predict(images, samples)
    assert all(sample.pred_instances.bboxes.isfinite().all() for sample in found)
    assert all(0 < len(sample.pred_instances.scores) <= 20 for sample in found)


@pytest.mark.parametrize("family", VARIANTS)
def test_losses_have_the_same_names_whatever_the_batch_holds(family):
    """Ranks of a distributed job reduce them entry by entry."""
    model = detector(family)
    names = {name: list(model.loss(*batch(*counts))) for name, counts in BATCHES.items()}
    assert names["full"] == names["one_empty"] == names["all_empty"]


def test_dino_has_thirty_nine_losses():
    """Class, L1 and GIoU of six layers, their denoising parts, and the encoder's."""
    model = detector("dino_4scale", size=replace(SMALL, decoder_layers=6))
    for counts in BATCHES.values():
        losses = model.loss(*batch(*counts))
        assert len(losses) == 39
        assert all(value.requires_grad for value in losses.values())


@pytest.mark.parametrize("denoising", KINDS)
@pytest.mark.parametrize("counts", BATCHES.values(), ids=BATCHES)
@pytest.mark.parametrize("family", VARIANTS)
def test_every_parameter_has_a_finite_gradient_whatever_the_batch_holds(family, counts, denoising):
    """Distributed training finds none unused, without being told to look for them."""
    model = detector(family, denoising)
    total(model.loss(*batch(*counts))).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("family", ["deformable_detr_two_stage", "dino_4scale"])
def test_an_image_with_fewer_tokens_than_queries_works(family):
    """The original stops in its top-k."""
    model = detector(family, size=replace(SMALL, queries=500))
    images, samples = batch(2, 1)
    losses = model.loss(images, samples)
    assert total(losses).isfinite()
    total(losses).backward()
    assert len(model.eval().predict(images, samples)[0].pred_instances.scores) == 20


@pytest.mark.parametrize("family", ["detr", "dn_detr", "dino_4scale"])
def test_more_objects_than_queries_works(family):
    """Every query learns an object, the rest go without."""
    model = detector(family)
    images, samples = batch(30, 5)
    assert total(model.loss(images, samples)).isfinite()
    from detassign.detectors.targets import targets_of

    targets = targets_of(samples)
    outputs = model._outputs(images, samples, targets.sizes)
    matches = model.bbox_head.assign_and_loss(outputs, targets)[0].matches
    counts = matches.image.bincount(minlength=2)
    assert counts[:2].tolist() == [SMALL.queries, 5]


@pytest.mark.parametrize("family", ["dn_detr", "dino_4scale"])
@pytest.mark.parametrize("objects", [500, 1100])
def test_a_crowded_image_stays_within_the_cap_on_denoising_queries(family, objects):
    """Many objects in one image must not blow up the sequence for all; past the cap some go without."""
    model = detector(family)
    images, samples = batch(objects, 2)
    from detassign.detectors.targets import targets_of

    noised = model.denoising.denoise(targets_of(samples), 4)
    assert noised.boxes.shape[1] <= model.denoising.denoise.max_queries
    assert total(model.loss(images, samples)).isfinite()


@pytest.mark.parametrize("family", ["dn_detr", "dino_4scale", "dn_dab_deformable_detr", "detr"])
def test_denoising_leaves_the_matching_part_as_it_is(family):
    """No query of the detector's own sees a noised target."""
    model = detector(family, "cdn")
    images, samples = batch(3, 2)
    from detassign.detectors.targets import sizes_of, targets_of

    features = model.extract_feat(images)
    arguments = (features, sizes_of(samples), (64, 96), True)
    alone = model.outputs(*arguments)
    joined = model.outputs(*arguments, targets_of(samples)).split()[1]
    torch.testing.assert_close(joined.logits, alone.logits, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(joined.boxes, alone.boxes, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("family", VARIANTS)
def test_padding_changes_no_prediction(family):
    """A smaller image alone and in a batch with a larger one: only the grid of strided levels may tell them apart."""
    if family not in ("detr", "conditional_detr", "dab_detr", "dn_detr"):
        pytest.skip("levels made by strided convolutions see the padding's edge, as in the originals")
    model = detector(family).eval()
    images, samples = batch(1, 1, size=(64, 96))
    images[1, :, 48:], images[1, :, :, 80:] = 0, 0
    samples[1].set_metainfo({"img_shape": (48, 80)})
    together = model.predictions(images, samples)
    samples[1].set_metainfo({"batch_input_shape": (48, 80)})
    alone = model.predictions(images[1:, :, :48, :80], samples[1:])
    torch.testing.assert_close(together.logits[1:], alone.logits, atol=1e-4, rtol=1e-4)
    assert math.isfinite(alone.boxes.sum().item())


@pytest.mark.parametrize("family", VARIANTS)
def test_mixed_precision_gives_finite_losses_and_gradients(family):
    """Losses are computed in float32 whatever the network runs in."""
    model = detector(family, "cdn")
    images, samples = batch(3, 2)
    with torch.autocast("cpu", torch.bfloat16):
        losses = model.loss(images, samples)
    assert {value.dtype for value in losses.values()} == {torch.float32}
    total(losses).backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize(("family", "cap"), [("dn_detr", 20), ("dino_4scale", 40)])
def test_a_cap_on_denoising_queries_does_not_shrink_their_loss(family, cap):
    """Divided by the objects that have one: twenty of sixty weigh what sixty do."""
    images, samples = batch(60)
    losses = {}
    for most in (cap, None):
        model = detector(family)
        model.denoising.denoise.max_queries, model.denoising.denoise.groups = most, 1
        model.denoising.denoise.label_noise = model.denoising.denoise.box_noise = 0.0
        losses[most] = model.loss(images, samples)["loss_l1_dn"].item()
    assert losses[cap] == pytest.approx(losses[None], rel=0.25)


@pytest.mark.parametrize("family", VARIANTS)
def test_a_decoder_of_one_layer_has_no_unused_parameter(family):
    """What scales positions from the second layer on is not there."""
    model = detector(family, size=replace(SMALL, decoder_layers=1))
    total(model.loss(*batch(3, 2))).backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_boxes_of_denoising_queries_stay_float32_beside_narrow_queries():
    """Their content may be bfloat16, in which a box near the right side would move by a 256th of the image."""
    torch.manual_seed(0)
    denoising = detector("dino_4scale").denoising
    own = Queries(torch.zeros(1, 2, SMALL.channels).bfloat16(), None, torch.zeros(1, 2, 4))
    boxes = torch.tensor([[[0.9471, 0.9123, 0.0517, 0.0333]]])
    noised = SimpleNamespace(boxes=boxes, labels=torch.zeros(1, 1).long(), known=torch.ones(1, 1, dtype=torch.bool))
    joined = denoising.join(own, noised)
    torch.testing.assert_close(joined.anchors[:, :1].sigmoid(), boxes, rtol=0, atol=1e-6)


@pytest.mark.parametrize("family", ["detr", "conditional_detr", "deformable_detr", "dab_detr", "dino_4scale"])
def test_mixed_precision_keeps_logits_boxes_and_references_in_float32(family):
    """A step of bfloat16 is more than two pixels of a large image, and class logits about -4.6 would tie."""
    from detassign.detectors.targets import sizes_of, targets_of

    model = detector(family, "none")
    images, samples = batch(3, 2)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = model._outputs(images, samples, sizes_of(samples), targets_of(samples))
    assert outputs.boxes.dtype == outputs.logits.dtype == torch.float32
    assert all(reference.dtype == torch.float32 for reference in outputs.references or ())

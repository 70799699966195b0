"""transformers' own models give the same numbers as this project's with their weights, converted."""

import json
import re

import pytest
import torch
from support import zoo
from support.hub import FAMILIES, theirs

from detassign.detectors.targets import sizes_of
from detassign.engine.conversion.convert import convert
from detassign.engine.conversion.families import recognise
from detassign.engine.conversion.official import COPIES
from detassign.engine.conversion.reading import Checkpoint, labels_beside, read_checkpoint

NAMES = tuple("abcdefg")
NORMED_BETWEEN = ("detr", "conditional_detr")
TIMM = (  # transformers' names of a ResNet -> timm's
    (r"embedder\.embedder\.convolution", "conv1"),
    (r"embedder\.embedder\.normalization", "bn1"),
    (r"encoder\.stages\.(\d)\.layers\.(\d+)\.shortcut\.convolution", r"layer\1.\2.downsample.0"),
    (r"encoder\.stages\.(\d)\.layers\.(\d+)\.shortcut\.normalization", r"layer\1.\2.downsample.1"),
    (r"encoder\.stages\.(\d)\.layers\.(\d+)\.layer\.(\d)\.convolution", r"layer\1.\2.conv\3"),
    (r"encoder\.stages\.(\d)\.layers\.(\d+)\.layer\.(\d)\.normalization", r"layer\1.\2.bn\3"),
)


def target(name):
    config = zoo.ours(name, {"model.head.num_classes": len(NAMES)})
    return {"name": name, "data": {"classes": list(NAMES)}, "pretrained": None, **config}


def accounted(report):
    """Every name of theirs that went somewhere or was dropped for a reason."""
    mapped = {name for names in report.mapped.values() for name in names.split(" + ")}
    return mapped | set(report.dropped)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_gives_transformers_numbers(name, tmp_path):
    """Two images of different size, from the file that `save_pretrained` writes; all layers.

    With auxiliary losses DETR and Conditional DETR put the decoder's norm between the layers too, as nobody else does: these
    are compared without, the last layer alone.
    """
    model = theirs(name, auxiliary_loss=name not in NORMED_BETWEEN)
    model.save_pretrained(tmp_path)
    config, state, report = convert(target(name), tmp_path / "model.safetensors")
    assert (report.source, report.complete, report.fresh, report.given) == ("transformers", True, {}, {})
    assert accounted(report) == set(read_checkpoint(tmp_path / "model.safetensors").state)
    assert report.settings == ({"model.head.eps": 1e-5} if name == "dab_detr" else {})
    detector = zoo.build(config, state)
    images, samples = zoo.padded_batch()
    with torch.no_grad():
        outputs = detector._outputs(images, samples, sizes_of(samples))
        logits, boxes = their_outputs(model, images, samples)
    layers = slice(-len(logits), None)
    torch.testing.assert_close(outputs.logits[layers], logits, rtol=0, atol=2e-5)
    torch.testing.assert_close(outputs.boxes[layers], boxes, rtol=0, atol=2e-5)


def their_outputs(model, images, samples):
    """(L, B, Q, C) and (L, B, Q, 4); the layers before the last come with auxiliary losses."""
    mask = torch.zeros(images.shape[0], *images.shape[-2:], dtype=torch.long)
    for own, sample in zip(mask, samples, strict=True):
        own[: sample.img_shape[0], : sample.img_shape[1]] = 1
    labels = [{"class_labels": torch.tensor([1]), "boxes": torch.tensor([[0.5, 0.5, 0.2, 0.2]])}] * len(images)
    outputs = model(images, pixel_mask=mask, labels=labels)
    layers = [*(outputs.auxiliary_outputs or ()), {"logits": outputs.logits, "pred_boxes": outputs.pred_boxes}]
    return tuple(torch.stack([layer[key] for layer in layers]) for key in ("logits", "pred_boxes"))


@pytest.mark.parametrize("name", FAMILIES)
def test_names_of_a_state_dict_and_of_timms_backbones_lead_to_the_same(name, tmp_path):
    """A model's own names, those of files on the hub, and both with the backbone that most of those have."""
    from safetensors.torch import load_file

    model = theirs(name)
    model.save_pretrained(tmp_path)
    files = [load_file(tmp_path / "model.safetensors"), dict(model.state_dict())]
    files += [{timm_name(key): tensor for key, tensor in file.items()} for file in files]
    found = [recognise(Checkpoint(without_counters(file))).translation for file in files]
    assert len({frozenset(file) for file in files}) == 4
    for translation, file in zip(found, files, strict=True):
        assert {n for names in translation.names.values() for n in names.split(" + ")} | set(
            translation.dropped
        ) == set(without_counters(file))
        assert set(translation.dropped.values()) <= {COPIES.reason, "the same head again"}
        assert translation.state.keys() == found[0].state.keys()
        assert all(torch.equal(tensor, found[0].state[ours]) for ours, tensor in translation.state.items())


def timm_name(name):
    head, found, rest = name.partition("backbone.conv_encoder.model.")
    if not found:
        head, found, rest = name.partition("backbone.model.")
    rest = re.sub(r"stages\.(\d)", lambda m: f"stages.{int(m[1]) + 1}", rest)
    rest = re.sub(r"\.layer\.(\d)", lambda m: f".layer.{int(m[1]) + 1}", rest)
    for theirs_, timms in TIMM if found else ():
        rest = re.sub(theirs_, timms, rest)
    return name if not found else head + found + rest


def without_counters(state):
    return {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}


def test_classes_are_those_of_the_config_beside(tmp_path):
    """Rows by name, however the model numbers them; names that say nothing are none."""
    model = theirs("conditional_detr", id2label=dict(enumerate(NAMES[::-1])))
    model.save_pretrained(tmp_path)
    _, state, report = convert(target("conditional_detr"), tmp_path / "model.safetensors")
    assert report.classes == {name: name for name in NAMES}
    assert torch.equal(state["bbox_head.classes.0.bias"], model.class_labels_classifier.bias.flip(0))
    for content in ({}, [], {"id2label": {"0": "LABEL_0", "1": "LABEL_1"}}, {"id2label": {"1": "a"}}, {"id2label": 3}):
        (tmp_path / "config.json").write_text(json.dumps(content))
        assert labels_beside(tmp_path / "model.safetensors") is None

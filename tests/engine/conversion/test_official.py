"""Every tensor of the papers' checkpoints has its place."""

import json
import zlib

import pytest
import torch
from support.detr import Model, scenarios
from support.golden import golden_folder

from detassign.configs.detectors import parts, query_parts
from detassign.engine.build import build_model
from detassign.engine.config import plain
from detassign.engine.conversion.families import source_of
from detassign.engine.conversion.fit import ClassRows, Report, fit
from detassign.engine.conversion.official import from_official

FULL = {  # entries of the papers' ResNet-50 checkpoints, family, options
    "detr": (458, query_parts.detr, {}),
    "conditional_detr": (564, query_parts.conditional_detr, {}),
    "deformable_detr": (561, query_parts.deformable_detr, {}),
    "deformable_detr_two_stage": (630, query_parts.deformable_detr, {"refine": True, "two_stage": True}),
    "dab_detr": (590, query_parts.dab_detr, {}),
    "dn_detr": (591, query_parts.dab_detr, {"denoising": query_parts.DN_LABELS}),
    "dab_deformable_detr": (604, query_parts.dab_deformable_detr, {}),
    "dn_dab_deformable_detr": (605, query_parts.dab_deformable_detr, {"denoising": query_parts.DN_MARKED}),
    "dn_dab_deformable_encoder_only": (
        638,
        query_parts.dab_deformable_encoder_only,
        {"denoising": query_parts.DN_LABELS, "activation": "prelu"},
    ),
    "dino_4scale": (626, query_parts.dino, {}),
}
REASONS = {"a second name of the heads", "the same head again"}


def fitted(translation, model, classes):
    report = Report("official")
    background = model.bbox_head.assigner.score.background_column
    return fit(translation, model, ClassRows(tuple(range(classes)), classes, background), report), report


@pytest.mark.parametrize("case", scenarios("eval_pad"))
def test_every_small_recorded_model_is_accounted_for(case):
    """Mapped or dropped as a second name, with nothing missing in the detector."""
    model = Model(case)
    state, report = fitted(model.translation, model.detector, case.config["num_classes"])
    assert report.complete
    assert not report.fresh
    assert set(report.dropped.values()) <= REASONS
    assert all(torch.equal(tensor, model.detector.state_dict()[name]) for name, tensor in state.items())


@pytest.mark.parametrize("name", FULL)
def test_every_full_checkpoint_is_accounted_for(name):
    """By the names and shapes of the papers' ResNet-50 models: so many entries, none unexplained, none missing."""
    entries, family, options = FULL[name]
    official = full_state(name)
    assert len(official) == entries
    assert source_of(official) == "official"
    classes = full_config(name)["num_classes"]
    with torch.device("meta"):
        detector = full_detector(family, options, official, classes)
    _, report = fitted(from_official(official), detector, classes)
    assert (report.missing, report.unexplained, report.fresh) == ([], {}, {})
    assert set(report.mapped.values()) | set(report.dropped) == set(official)
    assert set(report.dropped.values()) <= REASONS


def full_config(name):
    return json.loads((golden_folder() / "detr" / f"full_{name}" / "eval_pad.json").read_text())["config"]


def full_state(name):
    """Names and shapes of a recorded full-size model; a tensor that has two names has one value, others differ."""
    file = golden_folder() / "detr" / f"full_{name}" / "weights_recipe.json"
    if not file.is_file():
        pytest.skip(f"no golden model full_{name} in {golden_folder()}")
    rows = json.loads(file.read_text())
    state = {row[0]: torch.tensor(float(zlib.crc32(row[1].encode()))).expand(row[2]) for row in rows}
    return with_six_layers(state)


def with_six_layers(state):
    """Models that were recorded with fewer layers have the last one repeated."""
    for part in ("encoder", "decoder"):
        last = layer_count(state, part) - 1
        old = f"transformer.{part}.layers.{last}."
        layer = {name.removeprefix(old): tensor for name, tensor in state.items() if name.startswith(old)}
        state |= {old.replace(str(last), str(n)) + rest: t for n in range(last + 1, 6) for rest, t in layer.items()}
    return state


def layer_count(state, part):
    prefix = f"transformer.{part}.layers."
    return 1 + max(int(name.split(".")[3]) for name in state if name.startswith(prefix))


def full_detector(family, options, official, classes):
    """This project's detector of that size, on ResNet-50."""
    queries = [official[name] for name in ("query_embed.weight", "refpoint_embed.weight") if name in official]
    content = official.get("transformer.tgt_embed.weight")
    size = query_parts.Size(
        hidden=len(official["transformer.encoder.layers.0.linear1.weight"]),
        queries=len(queries[0]) if queries else 300 if content is None else len(content),
    )
    single = "input_proj.weight" in official
    backbone = parts.resnet(50, out_indices=(3,) if single else (1, 2, 3))
    model = plain(family(backbone, (2048,) if single else (512, 1024, 2048), size, **options))
    model["head"]["num_classes"] = classes
    return build_model({"model": model}, initialise=False)

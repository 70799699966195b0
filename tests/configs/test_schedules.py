"""Schedules of query detectors: the papers' rates, decays and steps, down to the optimizer's groups."""

import pytest
import torch

from detassign.engine import fragments
from detassign.engine.build import build_model
from detassign.engine.config import plain
from detassign.engine.optimization import parameter_groups


def schedule_of(name):
    return fragments.load("schedules", name)["schedule"]


def groups_of(detector: str, schedule: dict) -> dict[str, tuple[float, float]]:
    """Name of each trained parameter -> its rate and decay."""
    description = plain(fragments.load("detectors", detector)["model"])
    description["head"]["num_classes"] = 3
    with torch.device("meta"):
        model = build_model({"model": description}, initialise=False)
    optimizer = schedule["optimizer"]
    groups = parameter_groups(model, schedule, optimizer["lr"], optimizer["weight_decay"])
    settings = {id(p): (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}
    return {name: settings[id(p)] for name, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize(
    ("name", "epochs", "drop"),
    [
        ("detr_12e", 12, 11),
        ("detr_24e", 24, 20),
        ("detr_36e", 36, 30),
        ("detr_50e", 50, 40),
        ("detr_150e", 150, 100),
        ("detr_300e", 300, 200),
        ("detr_500e", 500, 400),
        ("deformable_detr_50e", 50, 40),
        ("deformable_detr_12e", 12, 11),
        ("deformable_detr_24e", 24, 20),
        ("deformable_detr_36e", 36, 30),
    ],
)
def test_the_rate_falls_once_where_the_papers_do(name, epochs, drop):
    """No warm-up, one tenfold drop, gradients clipped at 0.1."""
    schedule = schedule_of(name)
    assert schedule["epochs"] == epochs
    assert schedule["decay"] == {"type": "step", "epochs": (drop,), "gamma": 0.1}
    assert schedule["warmup"]["iterations"] == 0
    assert schedule["clip"] == 0.1


def test_detr_decays_everything_and_slows_only_the_backbone():
    """AdamW at 1e-4, 1e-5 for the backbone, decay 1e-4 on norms and biases too."""
    settings = groups_of("dino_r18", schedule_of("detr_50e"))
    assert schedule_of("detr_50e")["batch_size"] == 16
    for name, (rate, decay) in settings.items():
        assert rate == pytest.approx(1e-5 if name.startswith("backbone.") else 1e-4)
        assert decay == 1e-4


def test_deformable_detr_slows_reference_points_and_sampling_offsets():
    """2e-4 at batch 32, a tenth of it for those two and for the backbone."""
    schedule = schedule_of("deformable_detr_50e")
    settings = groups_of("deformable_detr_r18", schedule)
    slow = {name for name in settings if "sampling_offsets" in name or name.startswith("queries.reference.")}
    assert {"queries.reference.layers.0.weight", "encoder.layers.0.attention.sampling_offsets.bias"} <= slow
    assert schedule["batch_size"] == 32
    for name, (rate, decay) in settings.items():
        tenth = name in slow or name.startswith("backbone.")
        assert rate == pytest.approx(2e-5 if tenth else 2e-4)
        assert decay == 1e-4


def test_biases_of_attention_are_biases():
    """`in_proj_bias` follows the schedule's factors as any other bias does."""
    schedule = {**schedule_of("detr_50e"), "bias": {"lr_mult": 2.0, "decay_mult": 0.0}}
    settings = groups_of("detr_r18", schedule)
    own = {name: value for name, value in settings.items() if name.endswith("in_proj_bias")}
    assert own
    assert set(own.values()) == {(2e-4, 0.0)}

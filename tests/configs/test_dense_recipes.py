"""Recipes of dense detectors: heads that papers published with their assigners, and mmdet's TOOD."""

from collections import Counter

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import DefaultScope
from support.zoo import ZOO

from detassign.assigners import build
from detassign.data import make_dataset
from detassign.engine import fragments
from detassign.engine.build import build_model
from detassign.engine.resolving import resolve_config
from detassign.heads.branch_towers import Convolutions, MaxFilter
from detassign.heads.task_aligned import TaskAlignedTower


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "shapes"
    make_dataset(folder, images=4, size=64)
    return str(folder)


def config_of(recipe, data, *settings, detector=None, assigner=None):
    return resolve_config(recipe, detector, assigner, data, None, None, None, settings)


@pytest.mark.parametrize(
    ("recipe", "part", "kind"),
    [
        ("tood", "task_aligned", TaskAlignedTower),
        ("poto_3dmf", "branch_tower", MaxFilter),
        ("o2f", "branch_tower", Convolutions),
    ],
)
def test_a_recipe_brings_the_head_of_its_paper_to_any_dense_detector(recipe, part, kind, data):
    for detector in (None, "fcos_r18"):
        config = config_of(recipe, data, detector=detector)
        head = build_model(config, initialise=False).bbox_head
        assert type(getattr(head, part)) is kind
        preset = build(fragments.load("recipes", recipe)["assigner"], head.num_classes)
        assert repr(head.assigner) == repr(preset)


@pytest.mark.parametrize("recipe", ["tood", "poto_3dmf", "o2f"])
def test_an_assigner_alone_leaves_the_head_as_it_is(recipe, data):
    preset = fragments.load("recipes", recipe)["assigner"]
    head = build_model(config_of(None, data, assigner=preset), initialise=False).bbox_head
    assert (head.task_aligned, head.branch_tower) == (None, None)


def test_a_head_of_a_recipe_serves_other_assigners_and_can_be_switched_off(data):
    other = build_model(config_of("tood", data, assigner="dw"), initialise=False).bbox_head
    assert isinstance(other.task_aligned, TaskAlignedTower)
    off = build_model(config_of("tood", data, "model.head.task_aligned=None"), initialise=False).bbox_head
    assert off.task_aligned is None


def test_toods_recipe_has_the_parameters_of_mmdets(data):
    theirs = Config.fromfile(ZOO / "tood" / "tood_r50_fpn_1x_coco.py").model
    theirs.backbone.init_cfg = None
    ours = config_of("tood_r50_1x", data)
    theirs.bbox_head.num_classes = ours["model"]["head"]["num_classes"]
    with torch.device("meta"), DefaultScope.overwrite_default_scope("mmdet"):
        counts = [shapes(MODELS.build(theirs)), shapes(build_model(ours, initialise=False))]
    assert counts[0] == counts[1]


def test_toods_recipe_trains_as_mmdets(data):
    theirs = Config.fromfile(ZOO / "tood" / "tood_r50_fpn_1x_coco.py")
    warmup, steps = theirs.param_scheduler
    schedule = config_of("tood_r50_1x", data)["schedule"]
    assert schedule["optimizer"] == theirs.optim_wrapper.optimizer
    assert schedule["epochs"] == theirs.train_cfg.max_epochs
    assert schedule["batch_size"] == schedule["base_batch_size"] == theirs.auto_scale_lr.base_batch_size
    assert schedule["warmup"] == {"iterations": warmup.end, "start": warmup.start_factor}
    assert schedule["decay"] == {"type": "step", "epochs": steps.milestones, "gamma": steps.gamma}


def shapes(model):
    """How often a learned parameter has each shape."""
    return Counter(tuple(parameter.shape) for parameter in model.parameters() if parameter.requires_grad)

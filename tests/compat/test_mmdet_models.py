"""All of mmdet's models on the ops that are served: every file imports, every architecture of its configs builds.

Configs that name the same types are one architecture and built once, on no device and so without weights. What is left
out, and why, stands in ``PACKAGES``, ``DOWNLOADS`` and ``FAULTS``.
"""

import importlib
import inspect
import pkgutil
import re
import sys
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path

import mmdet
import mmdet.models
import pytest
import torch
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.config import Config, ConfigDict

CONFIGS = Path(mmdet.__file__).parent / ".mim"
# Packages that some models need and mmdet does not bring: how mmdet names one, and what it is imported as.
PACKAGES = {
    "Detectron2": "detectron2",
    "fairscale": "fairscale",
    "lap is": "lap",
    "mmpretrain": "mmpretrain",
    "motmetrics": "motmetrics",
    "skimage": "skimage",
    "timm": "timm",
    "transformers": "transformers",
}
DOWNLOADS = {"BertModel"}  # types that are downloaded when they are built
FAULTS = {  # of mmdet itself, whatever the ops
    "cascade_rpn/cascade-rpn_r50-caffe_fpn_1x_coco": "CascadeRPNHead.* missing .* 'num_classes'",
    "v3det/fcos_swinb_fpn_8x4_sample1e-3_mstrain_v3det_2x": "FPN.* unexpected keyword argument 'force_grad_on_level'",
}
WEIGHTS = {"init_cfg", "pretrained", "teacher_ckpt"}  # keys that name files to load


@pytest.fixture
def _process_group(tmp_path):
    """MMSyncBN asks for one when it is made."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.fixture
def _on_no_device(monkeypatch):
    """Tensors are made without storage; numbers that layers are built from, as drop rates, are real."""
    monkeypatch.setattr(torch, "linspace", partial(torch.linspace, device="cpu"))
    with torch.device("meta"):
        yield


def without_weights(value):
    """A config that loads no file."""
    if isinstance(value, dict):
        return {key: None if key in WEIGHTS else without_weights(item) for key, item in value.items()}
    return [without_weights(item) for item in value] if isinstance(value, list | tuple) else value


def architectures(model_types: dict[str, set[str]]) -> list[str]:
    """One config, that of the shortest name, for each set of types."""
    chosen = {frozenset(types): config for config, types in sorted(model_types.items(), key=lambda item: -len(item[0]))}
    return [config for types, config in chosen.items() if not types & DOWNLOADS]


def reason_to_leave_out(config: str, error: Exception) -> str | None:
    """A missing package or a fault of mmdet, if it is one that is known."""
    missing = [package for named, package in PACKAGES.items() if named in str(error) and not find_spec(package)]
    return next(iter(missing), None) or (config if re.search(FAULTS.get(config, "$^"), str(error)) else None)


@cache
def ops_asked_for(module: str) -> set[str]:
    """By a file of mmcv."""
    lists = re.findall(r"load_ext\(\s*'_ext',\s*\[(.*?)\]", inspect.getsource(sys.modules[module]), re.DOTALL)
    return set(re.findall(r"'(\w+)'", " ".join(lists)))


def unforeseen(model: torch.nn.Module, needed: set[str]) -> set[str]:
    """The files of mmcv whose layers are in the model, although no op of theirs is among those it is said to need."""
    files = {type(layer).__module__ for layer in model.modules() if type(layer).__module__.startswith("mmcv.ops.")}
    return {file for file in files if (asked := ops_asked_for(file)) and not asked & needed}


def test_every_file_of_mmdets_models_imports():
    modules = [module.name for module in pkgutil.walk_packages(mmdet.models.__path__, "mmdet.models.")]
    assert len(modules) > 200
    for module in modules:
        importlib.import_module(module)


@pytest.mark.skipif(not CONFIGS.exists(), reason="mmdet is installed without its configs")
@pytest.mark.usefixtures("_process_group", "_on_no_device")
@pytest.mark.filterwarnings("ignore")  # of configs: deprecated keys, missing packages
def test_every_architecture_of_mmdet_builds_and_needs_no_op_but_those_listed(monkeypatch, model_types, coverage):
    monkeypatch.chdir(CONFIGS)  # teachers of distillation are named from there
    register_all_modules(init_default_scope=True)
    failed, left_out, built = {}, set(), 0
    for name in architectures(model_types):
        try:
            config = Config.fromfile(CONFIGS / "configs" / f"{name}.py")
            model = MODELS.build(ConfigDict(without_weights(config.model.to_dict())))
        except Exception as error:
            reason = reason_to_leave_out(name, error)
            left_out.add(reason)
            if reason is None:
                failed[name] = repr(error)
        else:
            built += 1
            needed = {op for op, found in coverage.items() if name in found.configs}
            failed |= {name: f"has layers of {unforeseen(model, needed)}"} if unforeseen(model, needed) else {}
    assert failed == {}
    assert built > 200
    assert set(FAULTS) <= left_out  # else they are mended, and to be built

"""mmdet's own models as peers.

On a CPU mmcv runs deformable attention in plain torch, whatever ops it has. mmdet is measured so, and again with this
project's kernel put in its place, which is the harder peer. Its TOOD runs on this project's deformable convolution,
which serves mmcv's (`detassign.compat`), as this project's attention does on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import mmcv.ops.multi_scale_deform_attn as mmcv_attention
import mmdet
import torch
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from torch import Tensor

from ...engine.precision import wrapper_in
from ...engine.runner import calm
from ...ops import ms_deform_attn
from .conditions import CLASSES, Conditions
from .contender import Contender

UNCHANGED: Mapping[str, Any] = MappingProxyType({})


def mmdet_model(
    file: str, conditions: Conditions, our_kernel: bool = False, changes: Mapping[str, Any] = UNCHANGED
) -> Contender:
    """mmdet's model and optimizer as its config describes them, without downloaded weights.

    Args:
        file: of mmdet's configs.
        conditions: of the measurement.
        changes: dotted key -> value, where its layers are not those that ours has.
        our_kernel: `ms_deform_attn` takes the place of mmcv's plain deformable attention while this one steps.
    """
    with calm():
        register_all_modules(init_default_scope=True)
        config = Config.fromfile(Path(mmdet.__file__).parent / ".mim" / "configs" / file)
        config.merge_from_dict({"model.backbone.init_cfg": None, **changes})
        model = MODELS.build(config.model)
        if model.bbox_head.num_classes != CLASSES:
            raise ValueError(f"{file} has {model.bbox_head.num_classes} classes, and is measured with {CLASSES}")
        model.init_weights()
        model.to(conditions.device)
        wrapper = wrapper_in(conditions.dtype, torch.device(conditions.device))
        optimizer = build_optim_wrapper(model, {**config.optim_wrapper, **wrapper})
    return Contender(model, optimizer, partial(mmcv_attention_of, attention_as_mmcv if our_kernel else None))


def attention_as_mmcv(value: Tensor, shapes: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
    """`ms_deform_attn` under the arguments of mmcv's plain form: levels follow each other."""
    sizes = shapes.prod(1)
    return ms_deform_attn(value, shapes, sizes.cumsum(0) - sizes, locations, weights)


@contextmanager
def mmcv_attention_of(function: Callable[..., Tensor] | None) -> Iterator[None]:
    """Put another function in the place of mmcv's plain deformable attention; None leaves it."""
    name = "multi_scale_deformable_attn_pytorch"
    original = getattr(mmcv_attention, name)
    setattr(mmcv_attention, name, function or original)
    try:
        yield
    finally:
        setattr(mmcv_attention, name, original)

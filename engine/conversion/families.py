"""Whose checkpoint it is, told by its names, and what of the target follows from that."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from . import co_detr, detrex, mmdet, official, relation_detr, torchvision, transformers
from .co_detr import from_co_detr
from .detrex import from_detrex
from .mmdet import from_dense, from_mmdet
from .official import from_official
from .reading import Checkpoint
from .relation_detr import class_names, from_relation_detr
from .rules import Translation, translate
from .torchvision import from_torchvision
from .transformers import from_transformers

Settings = Callable[[Mapping[str, Tensor], Mapping[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class Recognised:
    """A checkpoint in this project's names.

    Attributes:
        source: a key of `PROJECTS`.
        translation: its tensors.
        settings: config keys of the target that these weights demand.
        classes: names of its classes, or None where it does not say.
    """

    source: str
    translation: Translation
    settings: dict[str, Any]
    classes: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Project:
    """A way of naming tensors.

    Attributes:
        pattern: some name begins like this, and none of the projects before this one has such names.
        translate: its state dict in our names.
        settings: config keys, from its state dict and the model in mmdet's config, {} where there is none.
    """

    pattern: str
    translate: Callable[[Mapping[str, Tensor]], Translation]
    settings: Settings = lambda state, description: {}


PROJECTS = {
    "relation_detr": Project(r"transformer\.encoder_class_head\.", from_relation_detr, relation_detr.settings_of),
    "detrex": Project(r"transformer\.(en|de)coder\.layers\.0\.attentions\.", from_detrex, detrex.settings_of),
    "co_detr": Project(r"query_head\.", from_co_detr, co_detr.settings_of),
    "transformers": Project(transformers.PATTERN, from_transformers, transformers.settings_of),
    "official": Project(r"transformer\.|backbone\.0\.", from_official, official.settings_of),
    "detassign": Project(r"bbox_head\.classes\.0\.bias$", lambda state: translate(state, ())),
    "mmdet": Project(r"bbox_head\.(fc_cls|cls_branches)\.", from_mmdet, mmdet.settings_of),
    "torchvision": Project(torchvision.PATTERN, from_torchvision, torchvision.settings_of),
    "dense": Project(r"bbox_head\.conv_cls\.bias$", from_dense, mmdet.dense_settings),
}


def recognise(checkpoint: Checkpoint) -> Recognised:
    """Tell the project by the names of its tensors.

    Raises:
        ValueError: for names of none of them.
    """
    source = source_of(checkpoint.state)
    project = PROJECTS[source]
    translation = project.translate(checkpoint.state)
    settings = query_settings(translation.state) | project.settings(checkpoint.state, checkpoint.model)
    spare = {} if source == "detassign" else spare_rows(translation.state)
    classes = checkpoint.classes or class_names(checkpoint.state)
    return Recognised(source, replace(translation, spare=spare), settings, classes)


def source_of(state: Mapping[str, Tensor]) -> str:
    """The project, by names that it alone has.

    Raises:
        ValueError: for names of none of them.
    """
    for source, project in PROJECTS.items():
        if any(re.match(project.pattern, name) for name in state):
            return source
    example = next(iter(state))
    raise ValueError(
        f"none of the projects whose checkpoints can be converted names its tensors like {example!r}; known are the "
        "papers' DETR, Conditional, Deformable, DAB-, DN-DETR, DINO, H-, Group, MS-, DAC-, Relation- and Co-DETR and DETA, "
        "detrex's of DETR, Conditional, DAB-, DN-, Deformable, H-, Rank- and Align-DETR, DINO and Stable-DINO, DW, mmdet 3's "
        "FCOS and DETRs, torchvision's FCOS and RetinaNet, and transformers' DETR, Conditional, Deformable and DAB-DETR"
    )


def is_plain_detr(state: Mapping[str, Tensor]) -> bool:
    """Whether a translated state dict is a DETR's, the one family with a softmax: its queries have nothing but a place."""
    others = ("queries.reference.", "queries.anchors.", "queries.proposals.", "decoder.guide.")
    return "queries.position.weight" in state and not any(name.startswith(others) for name in state)


def query_settings(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """What a translated state dict of a query detector says of the target: one head for all decoder layers or one each, and
    whether contents are learned beside places made from proposals."""
    if "bbox_head.classes.0.bias" not in state:
        return {}
    shared = {"model.head.shared": "bbox_head.classes.1.bias" not in state}
    return shared | ({"model.queries.content": "mixed"} if _is_mixed(state) else {})


def spare_rows(state: Mapping[str, Tensor]) -> dict[str, str]:
    """Tables of a translated state dict whose first rows are the detector's queries -> what the others may be."""
    if _is_mixed(state):
        return {"queries.content.weight": "the one-to-many branch of H-DETR"}
    if "queries.reference.layers.1.weight" in state:
        return {"queries.position.weight": "further groups of Group DETR"}
    return {}


def _is_mixed(state: Mapping[str, Tensor]) -> bool:
    return {"queries.content.weight", "queries.from_anchor.linear.weight"} <= state.keys()

"""transformers' own detectors, small, with random weights; nothing is downloaded."""

import pytest

from . import zoo

FAMILIES = (
    "detr",
    "conditional_detr",
    "deformable_detr",
    "deformable_detr_refine",
    "deformable_detr_two_stage",
    "dab_detr",
)
OPTIONS = {
    "deformable_detr_refine": {"with_box_refine": True},
    "deformable_detr_two_stage": {"with_box_refine": True, "two_stage": True, "two_stage_num_proposals": zoo.QUERIES},
}


def theirs(name, channels=256, **changes):
    """transformers' model of a family, of the size of `zoo.theirs`; skips the test where transformers is not installed."""
    transformers = pytest.importorskip("transformers")
    kind = {"conditional": "ConditionalDetr", "deformable": "DeformableDetr", "dab": "DabDetr"}.get(
        name.split("_")[0], "Detr"
    )
    stages = (4,) if zoo.in_channels(name) == zoo.SINGLE else (2, 3, 4)
    backbone = transformers.ResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 16, 32, 64],
        depths=[2, 2, 2, 2],
        layer_type="basic",
        out_features=[f"stage{stage}" for stage in stages],
    )
    labels = changes.pop("id2label", None) or dict(enumerate("abcdefg"))
    config = getattr(transformers, f"{kind}Config")(
        backbone_config=backbone,
        use_timm_backbone=False,
        encoder_layers=zoo.LAYERS,
        decoder_layers=zoo.LAYERS,
        encoder_ffn_dim=zoo.HIDDEN,
        decoder_ffn_dim=zoo.HIDDEN,
        id2label=labels,
        **{"hidden_size" if kind == "DabDetr" else "d_model": channels},
        **{"auxiliary_loss": True, "num_queries": zoo.QUERIES, **OPTIONS.get(name, {}), **changes},
    )
    return zoo.randomised(getattr(transformers, f"{kind}ForObjectDetection")(config))

"""What the fragments of query detectors share: one function per family, its paper's constants as defaults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from detassign.detectors import Preprocessor, QueryDetector
from detassign.detectors.transformer import (
    AnchorQueries,
    DeformableEncoder,
    DenseEncoder,
    FeatureProjection,
    LearnedQueries,
    PointQueries,
    QueryDecoder,
    TwoStageQueries,
)
from detassign.heads import PostProcess, QueryHead

from .parts import IMAGENET_MEAN, IMAGENET_STD

HUNGARIAN = "hungarian"
DN_MARKED = {"denoising": {"type": "dn"}, "indicator": True}  # DN-DAB-Deformable-DETR
DN_LABELS = {**DN_MARKED, "unknown_matching": True}  # DN-DETR and its encoder-only form
CDN = {"denoising": {"type": "cdn"}}  # DINO


@dataclass(frozen=True)
class Size:
    """Widths and depths of a transformer; the defaults are the papers'."""

    channels: int = 256
    heads: int = 8
    hidden: int = 2048
    encoder_layers: int = 6
    decoder_layers: int = 6
    queries: int = 300
    norm_groups: int = 32
    dropout: float = 0.0
    points: int = 4
    select: int = 300

    @property
    def width(self) -> dict[str, Any]:
        keys = ("channels", "heads", "hidden", "dropout")
        return {key: getattr(self, key) for key in keys}


def detr(backbone: dict[str, Any], in_channels: tuple[int, ...], size: Size, pre_norm: bool = False) -> dict[str, Any]:
    """DETR: dense attention on the coarsest map, learned places."""
    return query_detector(
        backbone,
        neck=single_projection(in_channels, size),
        encoder=encoder(DenseEncoder, size, pre_norm=pre_norm),
        queries={"type": LearnedQueries, "num_queries": size.queries, "channels": size.channels},
        decoder=decoder(size, attention="dense", guide="learned", pre_norm=pre_norm),
        head=head(size, "detr", zero_boxes=False),
        post_process=post_process(size, one_per_query=True),
    )


def conditional_detr(backbone: dict[str, Any], in_channels: tuple[int, ...], size: Size) -> dict[str, Any]:
    """Conditional DETR: content and place compared apart, places from learned points."""
    return query_detector(
        backbone,
        neck=single_projection(in_channels, size),
        encoder=encoder(DenseEncoder, size),
        queries={"type": PointQueries, "num_queries": size.queries, "channels": size.channels},
        decoder=decoder(size, attention="conditional", guide="conditional"),
        head=head(size, "deformable_detr", eps=1e-5),
        post_process=post_process(size),
    )


def dab_detr(
    backbone: dict[str, Any],
    in_channels: tuple[int, ...],
    size: Size,
    patterns: int = 0,
    random_centers: bool = False,
    denoising: dict[str, Any] | None = None,
    activation: str = "prelu",
) -> dict[str, Any]:
    """DAB-DETR: anchor boxes as queries; with `denoising` DN-DETR."""
    return query_detector(
        backbone,
        neck=single_projection(in_channels, size),
        encoder=encoder(DenseEncoder, size, activation=activation, temperature=20.0, scale_positions=True),
        queries=anchors(size, patterns=patterns, random_centers=random_centers),
        decoder=decoder(
            size, attention="conditional", guide="anchor", refinement="forward_twice", activation=activation
        ),
        head=head(size, HUNGARIAN),
        denoising=denoising,
        post_process=post_process(size),
    )


def dab_deformable_encoder_only(
    backbone: dict[str, Any],
    in_channels: tuple[int, ...],
    size: Size,
    extra: int = 1,
    patterns: int = 0,
    denoising: dict[str, Any] | None = None,
    activation: str = "relu",
) -> dict[str, Any]:
    """DAB-DETR with a deformable encoder and dense cross-attention to every level."""
    levels = len(in_channels) + extra
    return query_detector(
        backbone,
        neck=projection(in_channels, size, extra, xavier=False),
        encoder=encoder(
            DeformableEncoder,
            size,
            activation=activation,
            levels=levels,
            points=size.points,
            temperature=20.0,
            offset=0.0,
            reset_attention=False,
        ),
        queries=anchors(size, patterns=patterns, xavier_patterns=True),
        decoder=decoder(
            size,
            attention="levels",
            guide="anchor",
            refinement="forward_twice",
            activation=activation,
            levels=levels,
        ),
        head=head(size, HUNGARIAN, zero_boxes=False),
        denoising=denoising,
        post_process=post_process(size),
    )


def deformable_detr(
    backbone: dict[str, Any],
    in_channels: tuple[int, ...],
    size: Size,
    extra: int = 1,
    refine: bool = False,
    two_stage: bool = False,
    mixed: bool = False,
) -> dict[str, Any]:
    """Deformable DETR, with box refinement, two stages, and mixed selection and look forward twice on top of each other."""
    levels = len(in_channels) + extra
    queries: dict[str, Any] = {"type": PointQueries, "content": "learned", "hidden": False}
    if two_stage:
        queries = {"type": TwoStageQueries, "rank_by": "first", "content": "mixed" if mixed else "proposal"}
    refinement = "forward_twice" if mixed else "detached" if refine else None
    return query_detector(
        backbone,
        neck=projection(in_channels, size, extra),
        encoder=encoder(DeformableEncoder, size, levels=levels, points=size.points),
        queries={**queries, "num_queries": size.queries, "channels": size.channels},
        decoder=deformable_decoder(size, levels, guide="learned", refinement=refinement, norm=False),
        head=head(
            size,
            "deformable_detr",
            shared=not refine,
            encoder="binary" if two_stage else None,
            eps=1e-5,
            size_bias=0.0 if two_stage else -2.0,
        ),
        post_process=post_process(size),
    )


def dab_deformable_detr(
    backbone: dict[str, Any],
    in_channels: tuple[int, ...],
    size: Size,
    extra: int = 1,
    denoising: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """DAB-Deformable-DETR: anchor boxes, deformable attention, refinement; with `denoising` DN-DAB-Deformable-DETR."""
    levels = len(in_channels) + extra
    marked = bool(denoising and denoising.get("indicator"))
    return query_detector(
        backbone,
        neck=projection(in_channels, size, extra),
        encoder=encoder(DeformableEncoder, size, levels=levels, points=size.points),
        queries=anchors(size, content="learned", content_channels=size.channels - 1 if marked else None),
        decoder=deformable_decoder(
            size, levels, guide="deformable_anchor", refinement="detached", norm=False, scale_positions=True
        ),
        head=head(size, HUNGARIAN, shared=False, size_bias=-2.0),
        denoising=denoising,
        post_process=post_process(size),
    )


def dino(
    backbone: dict[str, Any],
    in_channels: tuple[int, ...],
    size: Size,
    extra: int = 1,
    denoising: dict[str, Any] | None = None,
    shared: bool = True,
    content: str = "learned",
) -> dict[str, Any]:
    """DINO: proposals as anchors, learned contents, contrastive denoising, look forward twice."""
    levels = len(in_channels) + extra
    return query_detector(
        backbone,
        neck=projection(in_channels, size, extra),
        encoder=encoder(DeformableEncoder, size, levels=levels, points=size.points, temperature=20.0, offset=0.0),
        queries={
            "type": TwoStageQueries,
            "num_queries": size.queries,
            "channels": size.channels,
            "rank_by": "best",
            "content": content,
        },
        decoder=deformable_decoder(size, levels, guide="deformable_anchor", refinement="forward_twice"),
        head=head(size, HUNGARIAN, shared=shared, encoder="classes"),
        denoising=CDN if denoising is None else denoising,
        post_process=post_process(size),
    )


def dn_dab_dino_deformable_detr(
    backbone: dict[str, Any],
    in_channels: tuple[int, ...],
    size: Size,
    extra: int = 1,
    denoising: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """DN-DETR's own two-stage contrastive variant: one-class proposals, scaled positions, no shared norm or heads.

    Noise as by default in its code: five groups, a fifth of the labels, coordinates up to 0.4 of a half side.
    """
    levels = len(in_channels) + extra
    amounts = {"groups": 5, "label_noise": 0.4, "box_noise": 0.4}  # half of label_noise is the probability
    noise = {"denoising": {"type": "cdn", "unknown_negatives": True, **amounts}, "indicator": True}
    return query_detector(
        backbone,
        neck=projection(in_channels, size, extra),
        encoder=encoder(DeformableEncoder, size, levels=levels, points=size.points),
        queries={
            "type": TwoStageQueries,
            "num_queries": size.queries,
            "channels": size.channels,
            "rank_by": "first",
            "content": "learned",
        },
        decoder=deformable_decoder(
            size, levels, guide="deformable_anchor", refinement="forward_twice", norm=False, scale_positions=True
        ),
        head=head(size, HUNGARIAN, shared=False, encoder="binary"),
        denoising=noise if denoising is None else denoising,
        post_process=post_process(size),
    )


def query_detector(backbone: dict[str, Any], **parts: Any) -> dict[str, Any]:
    """A query detector from its parts; images are padded to the largest of the batch and no further."""
    preprocessor = {
        "type": Preprocessor,
        "mean": IMAGENET_MEAN,
        "std": IMAGENET_STD,
        "bgr_to_rgb": True,
        "pad_size_divisor": 1,
    }
    return {
        "type": QueryDetector,
        "backbone": backbone,
        "denoising": None,
        "extra": {},
        **parts,
        "preprocessor": preprocessor,
    }


def single_projection(in_channels: tuple[int, ...], size: Size) -> dict[str, Any]:
    """One 1x1 convolution on the coarsest map, without a norm."""
    return projection(in_channels, size, extra=0, norm_groups=None, xavier=False)


def projection(in_channels: tuple[int, ...], size: Size, extra: int, **changes: Any) -> dict[str, Any]:
    return {
        "type": FeatureProjection,
        "in_channels": in_channels,
        "channels": size.channels,
        "extra": extra,
        "norm_groups": size.norm_groups,
        **changes,
    }


def encoder(kind: type, size: Size, **changes: Any) -> dict[str, Any]:
    return {"type": kind, "layers": size.encoder_layers, **size.width, **changes}


def decoder(size: Size, **choices: Any) -> dict[str, Any]:
    return {"type": QueryDecoder, "layers": size.decoder_layers, **size.width, **choices}


def deformable_decoder(size: Size, levels: int, **choices: Any) -> dict[str, Any]:
    return decoder(size, attention="deformable", levels=levels, points=size.points, **choices)


def anchors(size: Size, **choices: Any) -> dict[str, Any]:
    return {"type": AnchorQueries, "num_queries": size.queries, "channels": size.channels, **choices}


def head(size: Size, assigner: str, **choices: Any) -> dict[str, Any]:
    """`assigner` is the family's own; the one named on the command line takes its place."""
    return {
        "type": QueryHead,
        "assigner": assigner,
        "channels": size.channels,
        "layers": size.decoder_layers,
        **choices,
    }


def post_process(size: Size, one_per_query: bool = False) -> dict[str, Any]:
    """The best (query, class) pairs and no NMS; with `one_per_query` the best class of every query."""
    return {
        "type": PostProcess,
        "score_threshold": -1.0,
        "per_level": size.select,
        "max_per_image": size.select,
        "one_per_sample": one_per_query,
        "clip": False,
        "min_size": None,
    }

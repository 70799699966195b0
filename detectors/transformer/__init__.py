"""The parts that query detectors are made of: projection, encoder, queries, decoder."""

from .decoder import QueryDecoder
from .denoising import QueryDenoising
from .encoder import DeformableEncoder, DenseEncoder
from .projection import FeatureProjection
from .queries import AnchorQueries, LearnedQueries, PointQueries, TwoStageQueries
from .selection import SELECTIONS

__all__ = [
    "SELECTIONS",
    "AnchorQueries",
    "DeformableEncoder",
    "DenseEncoder",
    "FeatureProjection",
    "LearnedQueries",
    "PointQueries",
    "QueryDecoder",
    "QueryDenoising",
    "TwoStageQueries",
]

"""Denoising: extra queries made from shaken targets, whose matches are known by construction."""

from .cdn import ContrastiveDenoising
from .dn import Denoising
from .noise import Noise
from .queries import DenoisingQueries

__all__ = ["ContrastiveDenoising", "Denoising", "DenoisingQueries", "Noise"]

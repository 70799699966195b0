"""Denoising: extra queries made from shaken targets, whose matches are known by construction."""

from .cdn import ContrastiveDenoising
from .dn import Denoising
from .known import KnownPairs
from .noise import Noise
from .positives import Positives
from .queries import DenoisingQueries

__all__ = ["ContrastiveDenoising", "Denoising", "DenoisingQueries", "KnownPairs", "Noise", "Positives"]

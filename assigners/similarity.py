"""Similarities: how well a prior box goes with an object, 1 at best (0.1 for `kl_10`) and 0 at worst.

Each is a callable of objects and priors, boxes (..., 4) and (..., 4) xyxy in pixels that are broadcast -> (...). The order
matters where the measure is not symmetric. What two boxes have in common without overlapping is what tiny objects need.
"""

from __future__ import annotations

from torch import Tensor

from .boxes import iou
from .checks import check_positive
from .gaussians import divergence, squared_center_distance, squared_wasserstein
from .registry import SIMILARITIES


@SIMILARITIES.register("iou")
class Overlap:
    """Intersection over union."""

    def __call__(self, boxes: Tensor, priors: Tensor) -> Tensor:
        return iou(boxes, priors)


class _PerPixels:
    """Base of what falls with a distance in pixels, to 1 / e at `constant`."""

    scale_invariant = False

    def __init__(self, constant: float = 12.7) -> None:
        check_positive("constant", constant)
        self.constant = constant


@SIMILARITIES.register("nwd")
class NWD(_PerPixels):
    """exp(-W / constant) of the Wasserstein distance W of two boxes as Gaussians (arXiv 2110.13389).

    Args:
        constant: pixels; the mean side of the objects, 12.7 in NWD with ranking (AI-TOD), 12.8 in NWD's own code.
    """

    def __call__(self, boxes: Tensor, priors: Tensor) -> Tensor:
        return (-squared_wasserstein(boxes, priors).sqrt() / self.constant).exp()


@SIMILARITIES.register("dotd")
class DotD(_PerPixels):
    """exp(-d / constant) of the distance d of the centres, whatever the sizes (Dot Distance, CVPRW 2021).

    Args:
        constant: pixels; the mean side of the objects, 12.7 on AI-TOD.
    """

    def __call__(self, boxes: Tensor, priors: Tensor) -> Tensor:
        return (-squared_center_distance(boxes, priors).sqrt() / self.constant).exp()


@SIMILARITIES.register("kl")
class KL:
    """1 / (base + D) of the divergence D of the prior from the object: RFLA's distance of receptive fields (arXiv 2208.08738).

    Args:
        base: 1 in every configuration but one.
    """

    def __init__(self, base: float = 1.0) -> None:
        self.base = base

    def __call__(self, boxes: Tensor, priors: Tensor) -> Tensor:
        return 1 / (self.base + divergence(boxes, priors))


@SIMILARITIES.register("kl_10")
def kl_10() -> KL:
    """1 / (10 + D), another of RFLA's forms."""
    return KL(10.0)


@SIMILARITIES.register("exp_kl")
class ExpKL:
    """exp(-D / 10), another of RFLA's forms."""

    def __call__(self, boxes: Tensor, priors: Tensor) -> Tensor:
        return (-divergence(boxes, priors) / 10).exp()


@SIMILARITIES.register("wd")
class InverseWasserstein:
    """1 / (1 + W^2) of the Wasserstein distance W, RFLA's other distance of receptive fields."""

    scale_invariant = False

    def __call__(self, boxes: Tensor, priors: Tensor) -> Tensor:
        return 1 / (1 + squared_wasserstein(boxes, priors))

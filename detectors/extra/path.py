"""A second way of the same queries through the decoder on which they do not see each other (DAC-DETR, NeurIPS 2023)."""

from __future__ import annotations

from typing import Any

from torch import nn

from ...assigners.checks import check_positive
from ...heads.query import ExtraOutputs
from .scene import EXTRAS, Host, Scene


@EXTRAS.register("path")
class Path(nn.Module):
    """The detector's queries once more through its decoder, without self-attention in all layers but the first.

    Queries that do not see each other gather around objects, so the path wants a matching that gives an object several.

    Args:
        host: the detector's parts.
        assigner: of the path; None is the decoder's.
        weight: of its losses.

    Raises:
        ValueError: for a decoder whose layers need self-attention, and a weight that is not positive.
    """

    def __init__(self, host: Host, assigner: Any = None, weight: float = 1.0) -> None:
        super().__init__()
        check_positive("weight", weight)
        if not host.decoder.sees_alone:
            raise ValueError("path: attention to levels weighs them by what self-attention made; take another decoder")
        self.assigner = host.assigner(assigner)
        self.weight = weight

    def forward(self, scene: Scene) -> ExtraOutputs:
        outputs = scene.decode(scene.queries, see_others=False)
        return ExtraOutputs(outputs, scene.targets, self.assigner, weight=self.weight)

"""One-to-many supervision of the detector's own queries, right after they looked at the image (MS-DETR, arXiv 2401.03989)."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ...assigners.checks import check_count, check_positive
from ...heads.query import ExtraOutputs
from ..transformer.decoder import Decoded
from ..transformer.layers import FeedForward
from .scene import EXTRAS, Host, Scene, read


@EXTRAS.register("mixed")
class Mixed(nn.Module):
    """A feed-forward network on every layer's queries behind its cross-attention, read by the detector's own head.

    With `model.decoder.cross_first` queries have not seen each other then, as in the paper.

    Args:
        host: the detector's parts.
        hidden: of the networks.
        assigner: for these predictions; None is the decoder's.
        weight: of their losses.

    Raises:
        ValueError: for no hidden channels, and a weight that is not positive.
    """

    def __init__(self, host: Host, hidden: int = 2048, assigner: Any = None, weight: float = 1.0) -> None:
        super().__init__()
        check_count("hidden", hidden, 1)
        check_positive("weight", weight)
        channels = host.head.classes[0].in_features
        self.assigner = host.assigner(assigner)
        self.hidden, self.weight = hidden, weight
        self.networks = nn.ModuleList(FeedForward(channels, hidden) for _ in host.decoder.layers)
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in host.decoder.layers)

    def forward(self, scene: Scene) -> ExtraOutputs:
        crossed = zip(self.networks, self.norms, scene.decoded.crossed, strict=True)
        states = torch.stack([norm(state + network(state)) for network, norm, state in crossed])
        if scene.decoder.norm is not None:
            states = scene.decoder.norm(states)
        outputs = read(Decoded(states, scene.decoded.references, None, ()), scene.queries.proposals, scene.head)
        return ExtraOutputs(outputs, scene.targets, self.assigner, weight=self.weight)

"""An encoder part of an extra's own: what projects tokens, and what proposes objects there."""

from __future__ import annotations

import copy

from torch import nn

from ..transformer.memory import Memory
from ..transformer.proposals import Proposals
from ..transformer.queries import QuerySource
from .scene import Host


class OwnProposals(nn.Module):
    """A two-stage detector's token projection and proposal head again, with weights of their own."""

    def __init__(self, host: Host) -> None:
        super().__init__()
        self.tokens = copy.deepcopy(host.source.proposals)
        self.part = host.head.again()

    def forward(self, source: QuerySource, memory: Memory) -> Proposals:
        """What this part proposes."""
        return source.propose(memory, self.part, self.tokens)

"""Objectness for heads that have no second branch: a column more in the classifier, folded into its logits."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..assigners import Assigner, build
from ..assigners.scores import product_logit

CERTAIN = 100.0  # a logit whose sigmoid is 1 in float32, and the log of that 0
PRIOR = -4.59512  # the logit of 0.01, at which classes of a sigmoid start


def assigner_for(spec: Assigner | str | dict[str, Any], num_classes: int, provides: frozenset[str]) -> Assigner:
    """The assigner of a head.

    Args:
        spec: what `detassign.assigners.build` takes.
        num_classes: C.
        provides: the optional parts of `Predictions` that the head has.

    Raises:
        ValueError: when it needs what the head has not.
    """
    assigner = build(spec, num_classes)
    missing = sorted(assigner.needs - provides)
    if missing:
        raise ValueError(f"assigner: needs {', '.join(missing)}, which this model does not provide")
    if assigner.auxiliary is not None:
        raise ValueError("assigner: is for two heads on the same features, and this model has one; give one of its two")
    return assigner


def check_free(model: nn.Module) -> None:
    """Raise ValueError for a model that has an assigner already: its layers were made for that one."""
    if isinstance(getattr(model, "assigner", None), Assigner):
        raise ValueError("model: has an assigner already; build the model anew for another one")


def with_objectness(layer: nn.Linear | nn.Conv2d, places: int = 1) -> nn.Linear | nn.Conv2d:
    """A classifier of the same classes whose logits are those of class times objectness; its rows are kept.

    P = sigmoid(class) sigmoid(objectness) is one probability, and its logit comes out in the place of the class's. So what
    reads the logits, at inference too, needs to know nothing of the column.

    Args:
        layer: C outputs, or A * C channels, anchor by anchor.
        places: A.
    """
    kind = FoldedConv2d if isinstance(layer, nn.Conv2d) else FoldedLinear
    return kind(layer, places).to(layer.weight)


def fold(values: Tensor) -> Tensor:
    """(..., C + 1) class logits and an objectness logit -> (..., C) logits of their product."""
    wide = values.to(torch.promote_types(values.dtype, torch.float32))
    return product_logit(wide[..., :-1], wide[..., -1:]).to(values.dtype)


class _Grown:
    """A row more behind the C rows of every place."""

    places: int

    def _take_over(self, layer: nn.Linear | nn.Conv2d, places: int) -> None:
        self.places = places
        with torch.no_grad():
            for name in ("weight", "bias"):
                own, theirs = (getattr(each, name).unflatten(0, (places, -1)) for each in (self, layer))
                own[:, :-1] = theirs
        self.reset_objectness()

    @torch.no_grad()
    def reset_objectness(self) -> None:
        """Start objectness at an even chance."""
        self.bias.unflatten(0, (self.places, -1))[:, -1] = 0


class FoldedLinear(_Grown, nn.Linear):
    """(..., D) -> (..., C); see `with_objectness`."""

    def __init__(self, layer: nn.Linear, places: int = 1) -> None:
        nn.Linear.__init__(self, layer.in_features, layer.out_features + places)
        self._take_over(layer, places)
        self.out_features = layer.out_features  # what comes out, which some models read here

    def forward(self, states: Tensor) -> Tensor:
        return fold(super().forward(states))


class FoldedConv2d(_Grown, nn.Conv2d):
    """(B, D, h, w) -> (B, A * C, h, w); see `with_objectness`."""

    def __init__(self, layer: nn.Conv2d, places: int = 1) -> None:
        options = {name: getattr(layer, name) for name in ("kernel_size", "stride", "padding", "dilation")}
        nn.Conv2d.__init__(self, layer.in_channels, layer.out_channels + places, **options)
        nn.init.normal_(self.weight, std=0.01)
        self._take_over(layer, places)
        self.out_channels = layer.out_channels

    def forward(self, features: Tensor) -> Tensor:
        values = super().forward(features).unflatten(1, (self.places, -1))  # (B, A, C + 1, h, w)
        return fold(values.movedim(2, -1)).movedim(-1, 2).flatten(1, 2)


def certain(logits: Tensor) -> Tensor:
    """(B, N) objectness that adds nothing to logits (B, N, C) in which it is folded already."""
    return torch.full_like(logits[..., 0], CERTAIN, requires_grad=False)


@torch.no_grad()
def silence(branch: nn.Conv2d) -> None:
    """Hold a second branch that nobody trains at yes, so that scores are those of the classes."""
    nn.init.zeros_(branch.weight)
    nn.init.constant_(branch.bias, CERTAIN)
    branch.requires_grad_(False)

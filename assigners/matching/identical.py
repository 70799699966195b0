"""Objects that are written down more than once: same box, same class."""

from __future__ import annotations

import torch
from torch import Tensor

from ..structures import Targets


def identical_objects(targets: Targets, of_one_class: bool = True) -> tuple[Tensor, Tensor]:
    """(B, M) long, which set of identical objects each is of, numbered from 0, and its place in that set, from 0.

    Those of other classes are no less identical unless `of_one_class`; places go by class then. Padding is identical to none.

    >>> box, label = torch.tensor([[0.0, 0.0, 4.0, 4.0], [1.0, 1.0, 4.0, 4.0], [0.0, 0.0, 4.0, 4.0]]), torch.tensor([2, 2, 2])
    >>> identical_objects(Targets.from_lists([box], [label]))
    (tensor([[0, 1, 0]]), tensor([[0, 0, 1]]))
    """
    alike = (*targets.boxes.unbind(-1), targets.mask.long())
    order = torch.arange(targets.labels.shape[1], device=targets.labels.device).expand_as(targets.labels)
    for key in (targets.labels, *alike):  # the last one leads
        order = order.gather(1, key.gather(1, order).argsort(dim=1, stable=True))
    starts = ~targets.mask.gather(1, order)
    starts[:, :1] = True
    for key in (*alike, targets.labels) if of_one_class else alike:
        ordered = key.gather(1, order)
        starts[:, 1:] |= ordered[:, 1:] != ordered[:, :-1]
    position = torch.arange(starts.shape[1], device=starts.device).expand_as(order)
    first = torch.where(starts, position, 0).cummax(1).values if starts.shape[1] else position
    group, place = starts.cumsum(1) - 1, position - first
    group, place = (torch.empty_like(order).scatter_(1, order, values) for values in (group, place))
    return group, place

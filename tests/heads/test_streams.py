"""Random numbers of a part's own."""

import torch

from detassign.heads import DenseHead, QueryHead
from detassign.heads.streams import Streams


def draws(names, seed=0):
    """What each name draws, in this order, and what is drawn after them."""
    torch.manual_seed(seed)
    streams, found = Streams(), {}
    for name in names:
        with streams.of(name):
            found[name] = torch.rand(3)
    return found, torch.rand(3)


def test_what_a_name_draws_depends_on_neither_order_nor_others():
    found, after = draws(["a", "b"])
    other, after_other = draws(["b", "c", "a"])
    assert torch.equal(found["a"], other["a"])
    assert torch.equal(found["b"], other["b"])
    assert torch.equal(after, after_other)
    assert not torch.equal(found["a"], found["b"])
    assert not torch.equal(found["a"], draws(["a"], seed=1)[0]["a"])


def test_streams_inside_a_stream_are_its_own():
    torch.manual_seed(0)
    streams, found = Streams(), []
    for name in ("a", "b", "a"):
        with streams.of(name), Streams().of("inner"):
            found.append(torch.rand(3))
    assert torch.equal(found[0], found[2])
    assert not torch.equal(found[0], found[1])


def test_heads_can_be_made_of_shapes_alone():
    with torch.device("meta"):
        heads = DenseHead(3, 8, "dw", 8, 1, norm_groups=2, task_aligned={}), QueryHead(3, channels=8, layers=2)
    assert {parameter.device.type for head in heads for parameter in head.parameters()} == {"meta"}

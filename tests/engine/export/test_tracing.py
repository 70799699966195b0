"""What cannot be traced is an error of one sentence, and nothing else."""

import logging

import pytest
import torch
from torch import nn

from detassign.engine.export.tracing import CannotTrace, freest, in_format, traced


class Loop(nn.Module):
    """Goes through values that are known only when it runs."""

    def forward(self, images, sizes):
        return sum(value * images.sum() for value in sizes.unique())


def test_a_graph_that_torch_cannot_finish_is_not_printed(capfd):
    example = torch.rand(2, 3, 32, 32), torch.full((2, 2), 32.0)
    with pytest.raises(CannotTrace, match="cannot be written in this format"):
        freest(("batch",), lambda free: traced(Loop(), example, free))
    assert capfd.readouterr() == ("", "")


def test_what_can_be_free_is():
    tried = []

    def make(free):
        tried.append(free)
        if "height" in free:
            raise RuntimeError("no")
        return "made"

    assert freest(("batch", "height", "width"), make) == ("made", ("batch",))
    assert tried == [("batch", "height", "width"), ("batch",)]


@pytest.mark.parametrize("before", [logging.NOTSET, logging.CRITICAL])
def test_logging_that_was_off_stays_off_while_a_graph_is_traced(before, capfd):
    class Telling(nn.Module):
        def forward(self, images, sizes):
            levels.append(logging.root.manager.disable)
            return images + sizes.sum()

    levels = []
    try:
        logging.disable(before)
        traced(Telling(), (torch.rand(2, 3, 32, 32), torch.full((2, 2), 32.0)), ())
        assert logging.root.manager.disable == before
    finally:
        logging.disable(logging.NOTSET)
    assert set(levels) == {max(before, logging.WARNING)}


@pytest.mark.parametrize("error", [ImportError("ONNX needs onnx"), MemoryError("all of it"), OSError("full")])
def test_what_is_no_fault_of_the_network_is_said_at_once(error):
    def make(free):
        raise error

    with pytest.raises(type(error), match=str(error)):
        freest(("batch",), make)
    if not isinstance(error, ImportError):
        with pytest.raises(type(error), match=str(error)), in_format():
            raise error

"""Where a training step reads values back: on a GPU each such place waits for the device."""

import traceback
from collections import Counter
from pathlib import Path

import pytest
import torch
from support.detr import FAMILIES
from support.query import KINDS, batch, detector, total
from torch.utils._python_dispatch import TorchDispatchMode

from detassign import assigners

PACKAGE = Path(assigners.__file__).resolve().parents[1]
ROOMS = {"assigners", "detectors", "heads", "ops"}
READING = {
    "_local_scalar_dense",
    "nonzero",
    "masked_select",
    "_unique2",
    "unique_dim",
    "equal",
    "is_nonzero",
    "bincount",
}
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}
ON_THE_HOST = ("assigners/matching/hungarian.py", "ops/linear_assignment.py", "assigners/structures.py")


class Reads(TorchDispatchMode):
    """Counts, by file of the package, the operators whose result's value or size must be known to go on."""

    def __init__(self):
        super().__init__()
        self.places = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function._schema.name.partition("::")[2]
        by_mask = name in INDEXING and any(index is not None and index.dtype == torch.bool for index in args[1])
        if name in READING or by_mask:
            files = [Path(frame.filename).resolve() for frame in traceback.extract_stack()]
            inside = [file.relative_to(PACKAGE) for file in files if file.is_relative_to(PACKAGE)]
            own = [file.as_posix() for file in inside if file.parts[0] in ROOMS]
            self.places[own[-1] if own else "torch"] += 1
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("denoising", KINDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_step_reads_nothing_back_but_the_costs_and_the_number_of_denoising_pairs(family, denoising):
    """The matching works on the host after one copy, and labels are only checked there."""
    model = detector(family, denoising)
    images, samples = batch(3, 2)
    with Reads() as reads:
        total(model.loss(images, samples)).backward()
    assert any(place in reads.places for place in ON_THE_HOST)  # the counting works
    elsewhere = {place: count for place, count in reads.places.items() if place not in ON_THE_HOST}
    assert elsewhere == ({} if denoising == "none" else {"assigners/denoising/queries.py": 1})

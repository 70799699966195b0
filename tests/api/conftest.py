import pytest

import detassign


@pytest.fixture(scope="session")
def model(tiny_run):
    """A detector that learned next to nothing and so finds much, at score 0."""
    return detassign.load(tiny_run, device="cpu")

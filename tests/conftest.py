"""What all tests share: one thread (threads that compete for a busy machine's cores are far slower), no user's cache."""

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    """Keeps generated data out of the user's cache folder."""
    monkeypatch.setenv("DETASSIGN_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))

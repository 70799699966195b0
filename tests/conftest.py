"""What all tests share: one thread (threads that compete for a busy machine's cores are far slower), no user's cache."""

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _own_folders(tmp_path_factory, monkeypatch):
    """Keeps generated data out of the user's cache folder, and what tests agree to out of what the user has."""
    monkeypatch.setenv("DETASSIGN_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setenv("DETASSIGN_STATE", str(tmp_path_factory.getbasetemp() / "state"))
    monkeypatch.delenv("COLUMNS", raising=False)  # which processes that share the tests are given
    yield
    torch.set_num_threads(1)  # commands take others; sums of other parts differ in their last bits


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory):
    """The folder of a finished run that learned next to nothing: one epoch of fcos_tiny on six images. Not to be changed."""
    from detassign.data import make_dataset, resolve
    from detassign.engine.config import compose
    from detassign.engine.train import train

    data, run = tmp_path_factory.mktemp("tiny") / "shapes", tmp_path_factory.mktemp("tiny-run") / "run"
    make_dataset(data, images=8, size=96)
    changes = {"input.scale": (96, 96)}
    train(compose("fcos_tiny", "fcos", resolve(data), changes=changes, epochs=1, batch_size=2), run, quiet=True)
    return run


@pytest.fixture
def own_parts():
    """What is registered and loaded during a test is forgotten after it."""
    import sys

    from detassign.assigners import imports, registry

    entries = [dict(one._entries) for one in registry.EVERY]
    yield
    for one, before in zip(registry.EVERY, entries, strict=True):
        one._entries = before
    imports._loaded.clear()
    for name in [name for name in sys.modules if name.startswith(imports.PACKAGE)]:
        del sys.modules[name]

"""Training runs of query detectors: every CPU-sized fragment under every denoising, from config to average precision."""

import json

import pytest

from detassign.data import make_dataset, resolve
from detassign.data.files import json_text
from detassign.engine import fragments
from detassign.engine.config import compose
from detassign.engine.hooks import read_metrics
from detassign.engine.train import evaluate, find_run, train

TINY = sorted(name for name in fragments.names("detectors") if name.endswith("_tiny") and not name.startswith("fcos"))
IMAGES = 5  # four to train on, one to evaluate on


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "shapes"
    make_dataset(folder, images=IMAGES, size=96)
    return resolve(folder)


@pytest.mark.parametrize("denoising", ["none", "dn", "cdn"])
@pytest.mark.parametrize("detector", TINY)
def test_two_steps_and_an_evaluation(detector, denoising, source, tmp_path):
    """The losses are finite, and the checkpoint scores in `detassign test` what the run said."""
    changes = {"input.scale": (96, 96)}
    config = compose(detector, "hungarian", source, denoising=denoising, changes=changes, epochs=1, batch_size=2)
    summary = train(config, tmp_path / "run", quiet=True)
    steps = [line for line in read_metrics(tmp_path / "run" / "metrics.jsonl") if "loss" in line]
    assert [line["step"] for line in steps] == [1, 2]
    assert all(0 < line["loss"] < 1e3 for line in steps)
    assert any("_dn" in name for name in steps[0]) == (denoising != "none")
    assert 0 <= summary["metrics"]["AP"] <= 1
    again = evaluate(*find_run(tmp_path / "run"))
    assert json.loads(json_text(again)) == summary["metrics"]


def test_every_family_has_a_fragment_of_that_size():
    assert len(TINY) == 13

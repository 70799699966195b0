"""Runs of so many steps: the last epoch is cut short, and everything that follows the length of a run follows that."""

import pytest

from detassign.data import make_dataset, resolve
from detassign.engine.config import compose
from detassign.engine.datasets import train_loader
from detassign.engine.hooks import read_metrics
from detassign.engine.optimization import schedulers
from detassign.engine.sampling import steps_in_all
from detassign.engine.train import step_seconds, train

CHANGES = {
    "input.scale": (64, 64),
    "model.head.stacked_convs": 1,
    "evaluation.every": 9,
    "schedule.warmup.iterations": 0,
}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "shapes"
    make_dataset(folder, images=12, size=64)
    return resolve(folder)


@pytest.fixture(scope="module")
def config(source):
    return compose("fcos_tiny", "fcos", source, changes={**CHANGES, "schedule.steps": 3}, epochs=5, batch_size=4)


def test_the_last_epoch_is_cut_short_and_the_learning_rate_ends_there(config, tmp_path, capsys):
    summary = train(config, tmp_path / "run", quiet=True)
    lines = [line for line in read_metrics(tmp_path / "run" / "metrics.jsonl") if "loss" in line]
    assert [(line["step"], line["epoch"]) for line in lines] == [(1, 1), (2, 1), (3, 2)]
    assert summary["steps"] == 3
    assert summary["curve"][-1]["epoch"] == 2
    assert lines[2]["lr"] < 0.3 * lines[0]["lr"]
    assert ": 2 epochs, 3 steps of 4 images on cpu" in capsys.readouterr().err


def test_the_images_before_the_end_are_those_of_a_longer_run(config, source):
    settings = config["input"]
    short, long = (train_loader(source, settings, 4, seed=3, steps=steps) for steps in (3, None))
    for epoch in range(3):
        for loader in (short, long):
            loader.sampler.set_epoch(epoch)
        order = list(long.sampler)
        assert list(short.sampler) == order[: [len(order), 4, 0][epoch]]
    assert (steps_in_all(short, 5), steps_in_all(long, 5), steps_in_all(short, 1)) == (3, 10, 2)


def test_a_decay_within_an_epoch_happens_at_its_step():
    schedule = {"warmup": {"iterations": 0}, "decay": {"type": "step", "epochs": [1, 2.5], "gamma": 0.1}}
    (decay,) = schedulers(schedule, steps_per_epoch=10, total=30)
    assert (decay["by_epoch"], decay["milestones"]) == (False, [10, 25])
    schedule["decay"]["epochs"] = [1, 2]
    (decay,) = schedulers(schedule, steps_per_epoch=10, total=30)
    assert (decay["by_epoch"], decay["milestones"]) == (True, [1, 2])


def test_a_step_is_timed_and_leaves_nothing(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert step_seconds(config, steps=2) > 0
    assert list(tmp_path.iterdir()) == []

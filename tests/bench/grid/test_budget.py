"""Budgets of runs: epochs, steps, minutes, and schedules that fit them."""

import pytest

from detassign.bench.grid.budget import Budget, steps_of, steps_per_epoch
from detassign.engine.config import source_of
from detassign.engine.datasets import train_loader

STEPS = {"schedule.decay": {"type": "step", "epochs": [8, 11], "gamma": 0.1}, "schedule.epochs": 12}


@pytest.fixture
def config(rows):
    """Six images to learn from; an epoch of three steps."""
    (found,) = rows("fcos", epochs=None, **{**STEPS, "schedule.batch_size": 2}).values()
    return found


def test_an_epoch_has_as_many_steps_as_its_loader(config, rows):
    (large,) = rows("fcos", **{"schedule.batch_size": 100}).values()
    for one in (config, large):
        loader = train_loader(source_of(one), one["input"], one["schedule"]["batch_size"], seed=0)
        assert steps_per_epoch(one) == len(loader)


def test_a_decay_by_steps_keeps_its_place_in_the_training(config):
    for epochs, places in ((24, [16, 22]), (3, [2, 2.75]), (12, [8, 11])):
        schedule = Budget(epochs=epochs).fitted(config)["schedule"]
        assert (schedule["epochs"], schedule["steps"]) == (epochs, None)
        assert schedule["decay"] == {"type": "step", "epochs": places, "gamma": 0.1}
    assert Budget(epochs=3).fitted(config, keep_decay=True)["schedule"]["decay"]["epochs"] == [8, 11]
    assert config["schedule"]["decay"]["epochs"] == [8, 11]


def test_steps_cut_the_last_epoch_and_whole_epochs_are_what_epochs_say(config):
    per_epoch = steps_per_epoch(config)
    cut = Budget(steps=2 * per_epoch + 1).fitted(config)
    assert (cut["schedule"]["epochs"], cut["schedule"]["steps"], steps_of(cut)) == (
        3,
        2 * per_epoch + 1,
        2 * per_epoch + 1,
    )
    assert Budget(steps=2 * per_epoch).fitted(config) == Budget(epochs=2).fitted(config)
    assert steps_of(Budget(epochs=2).fitted(config)) == 2 * per_epoch


def test_without_a_budget_the_schedule_stays(config):
    assert Budget().fitted(config) == config


def test_one_budget_is_named():
    with pytest.raises(ValueError, match="--epochs and --minutes: name one of them"):
        Budget.of(2, None, 1.0)


def test_minutes_that_were_measured_before_are_not_measured_again():
    grids = [{}, {"budget": {"minutes": 3.0, "steps": 5}}, {"budget": {"minutes": 2.0, "steps": 7}}]
    assert Budget(minutes=2.0).as_recorded(grids) == Budget(minutes=2.0, steps=7)
    assert Budget(minutes=4.0).as_recorded(grids).is_open
    assert Budget(epochs=5).as_recorded(grids) == Budget(epochs=5)
    assert Budget(minutes=2.0).as_recorded([{"budget": {"minutes": 2.0, "steps": "7"}}]).is_open

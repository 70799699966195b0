"""Where the time of a training goes: every piece of it belongs to the part that it was spent on."""

import json
from itertools import count
from types import SimpleNamespace

import pytest

from detassign.bench import loop
from detassign.cli import main
from detassign.data import make_dataset, resolve
from detassign.engine import trackers
from detassign.engine.config import compose

SMALL = {"input.scale": (64, 64), "model.head.stacked_convs": 1}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "shapes"
    make_dataset(folder, images=14, size=64, val_fraction=0.4)
    return folder


@pytest.mark.parametrize(("ema", "passes"), [(None, 1), (0.9, 2)], ids=["weights", "weights and their average"])
def test_every_stage_ends_the_part_that_it_follows(data, monkeypatch, ema, passes):
    """By a clock that ticks once a look, parts are as long as they are many: 8 pictures to learn from and 6 to measure on in
    batches of 4, two epochs, measured after each.
    """
    ticks = count()
    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    config = compose("fcos_tiny", "fcos", resolve(data), changes=SMALL, epochs=2, batch_size=4, ema=ema)
    seconds = loop.measure(config, quiet=True)
    steps, batches, epochs = 2 * 2, passes * 2 * 2, 2
    assert set(seconds) == set(loop.PARTS)
    assert seconds["step"] == steps
    assert seconds["read"] == steps + epochs  # the last look of an epoch finds nothing more
    assert seconds["read to measure"] == seconds["detect"] == batches
    assert seconds["hooks"] == 2 * (steps + batches)
    assert seconds["average precision"] == passes * epochs
    assert seconds["start"] == 1
    assert sum(seconds.values()) == next(ticks) - 1


def test_no_tracker_is_told(data, monkeypatch):
    """Its server would keep a run of which nothing is to stay."""
    made = []
    monkeypatch.setitem(trackers.TRACKERS, "tensorboard", lambda folder: made.append(folder))
    config = compose("fcos_tiny", "fcos", resolve(data), changes=SMALL, epochs=1, batch_size=4, log=["tensorboard"])
    assert loop.measure(config, quiet=True)["step"] > 0
    assert made == []


def test_the_command_leaves_a_table_and_a_file_and_no_run(data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    sets = ["--set", "input.scale=(64, 64)", "--set", "model.head.stacked_convs=1"]
    with pytest.raises(SystemExit) as stopped:
        main(["bench", "loop", "--data", str(data), "--batch-size", "4", *sets, "--out", "loop.json", "--quiet"])
    assert stopped.value.code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["loop.json"]
    found = json.loads((tmp_path / "loop.json").read_text())
    assert (found["epochs"], found["batch_size"]) == (1, 4)
    assert list(found["seconds"]) == list(loop.PARTS)
    printed = capsys.readouterr().out
    assert all(part in printed for part in loop.PARTS)

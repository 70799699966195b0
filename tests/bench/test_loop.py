"""Where the time of a training goes: every piece of it belongs to the part that it was spent on."""

import json
from itertools import count
from types import SimpleNamespace

import pytest

from detassign.bench import loop
from detassign.cli import main
from detassign.data import make_dataset, resolve
from detassign.engine import keeping, trackers
from detassign.engine.config import compose
from detassign.engine.files import write_whole
from detassign.engine.precision import precision_of

SMALL = {"input.scale": (64, 64), "model.head.stacked_convs": 1}
SETS = ["--device", "cpu", "--set", "input.scale=(64, 64)", "--set", "model.head.stacked_convs=1"]


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
    assert seconds["checkpoints"] == 2 * epochs  # one that is written, and the best one, after each
    assert sum(seconds.values()) == next(ticks) - 1


def test_files_of_weights_are_no_ends_of_epochs(data, monkeypatch):
    """By a clock that a file takes a hundred ticks of."""
    ticks, files = count(), []

    def write_slowly(write, path):
        files.append(path.name)
        for _ in range(100):
            next(ticks)
        write_whole(write, path)

    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    monkeypatch.setattr(keeping, "write_whole", write_slowly)
    config = compose("fcos_tiny", "fcos", resolve(data), changes=SMALL, epochs=2, batch_size=4)
    seconds = loop.measure(config, quiet=True)
    assert {"epoch_1.pth", "epoch_2.pth", "best.pth"} <= set(files)
    assert seconds["checkpoints"] == 2 * 2 + 100 * len(files)
    assert seconds["ends of epochs"] < 100


def test_no_tracker_is_told(data, monkeypatch):
    """Its server would keep a run of which nothing is to stay."""
    made = []
    monkeypatch.setitem(trackers.TRACKERS, "tensorboard", lambda folder: made.append(folder))
    config = compose("fcos_tiny", "fcos", resolve(data), changes=SMALL, epochs=1, batch_size=4, log=["tensorboard"])
    assert loop.measure(config, quiet=True)["step"] > 0
    assert made == []


def test_the_command_leaves_a_table_and_a_file_and_no_run(data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(["bench", "loop", "--data", str(data), "--batch-size", "4", *SETS, "--out", "loop.json", "--quiet"])
    assert stopped.value.code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["loop.json"]
    found = json.loads((tmp_path / "loop.json").read_text())
    assert (found["epochs"], found["batch_size"]) == (1, 4)
    assert list(found["seconds"]) == list(found["shares"]) == list(loop.PARTS)
    assert sum(found["shares"].values()) == pytest.approx(1)
    assert (found["data"], found["images_to_learn_from"], found["images_to_measure_on"]) == ("shapes", 8, 6)
    assert (found["name"], found["device"], found["precision"]) == ("fcos_tiny-fcos-shapes", "cpu", "float32")
    printed = capsys.readouterr().out
    assert all(part in printed for part in loop.PARTS)


def test_the_precision_told_is_that_of_the_run(data, tmp_path, capsys):
    """What "auto" came to, with its reason, not the word."""
    out = tmp_path / "loop.json"
    with pytest.raises(SystemExit, match="0"):
        main(["bench", "loop", "--data", str(data), *SETS, "--precision", "auto", "--out", str(out), "--quiet"])
    wanted = precision_of({"precision": "auto", "device": "cpu"})
    assert json.loads(out.read_text())["precision"] == wanted.name
    assert f"precision {wanted}" in " ".join(capsys.readouterr().out.split())

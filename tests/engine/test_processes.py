"""Jobs of several processes: they train as one would, write once, and refuse what cannot be shared."""

import json
import subprocess
import sys

import pytest
import torch
from mmengine.runner import runner as mmengine_runner

from detassign.compat.checkpoint import safe_load
from detassign.data import make_dataset, resolve
from detassign.engine import processes
from detassign.engine.build import build_model
from detassign.engine.config import compose
from detassign.engine.device import device_of
from detassign.engine.hooks import read_metrics
from detassign.engine.train import find_run, train
from detassign.evidence.telemetry.history import read_history

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
# Nothing random, no norm that looks at its batch, and steps in proportion to gradients.
SAME = {"input.flip": [], "model.backbone.norm_eval": True, "schedule.warmup.iterations": 0, "schedule.clip": 1.0}
SGD = {"schedule.optimizer.type": "SGD", "schedule.optimizer.lr": 0.1}
WATCHED = {"telemetry.on": True, "telemetry.every": 1, "telemetry.images": 3}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two epochs of two steps, batch 2: by this process alone, and by two with an image each."""
    data = tmp_path_factory.mktemp("data") / "shapes"
    make_dataset(data, images=7, size=64)
    changes = {"input.scale": (64, 64), "schedule.ema": 0.5, **SAME, **SGD, **WATCHED}
    config = compose("deformable_detr_tiny", None, resolve(data), changes=changes, epochs=2, batch_size=2)
    alone, shared = (tmp_path_factory.mktemp("runs") / name for name in ("alone", "shared"))
    train(config, alone, quiet=True)
    command = ["-m", "detassign.cli", "train", str(alone / "config.json"), "--work-dir", str(shared)]
    done = subprocess.run([*TORCHRUN, *command], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return alone, shared, done.stdout


def test_two_processes_learn_what_one_learns_of_the_joint_batch(runs):
    """Losses (averaged over both), weights after every step, and the AP of an odd number of images."""
    alone, shared, _ = runs
    for mine, theirs in zip(*(read_metrics(run / "metrics.jsonl") for run in (alone, shared)), strict=True):
        assert mine.keys() == theirs.keys()
        told = {name: value for name, value in mine.items() if not isinstance(value, dict)}
        same = {name: value for name, value in told.items() if "seconds" not in name and value is not None}
        assert {name: theirs[name] for name in same} == pytest.approx(same, rel=1e-3, abs=1e-6)
    config, _ = find_run(alone)
    torch.manual_seed(config["seed"])
    start = build_model(config).state_dict()
    for key in ("state_dict", "ema_state_dict"):  # the average, too
        mine, theirs = (safe_load(run / "epoch_2.pth")[key] for run in (alone, shared))
        assert mine.keys() == theirs.keys() == start.keys()
        moved = max(float((mine[name] - start[name]).abs().max()) for name in mine)
        apart = max(float((mine[name] - theirs[name]).abs().max()) for name in mine)
        assert apart < 1e-4 * moved


def test_two_processes_take_the_parts_of_a_batch_that_one_takes(tmp_path):
    """The first part of all processes together is the first half of the batch, and there is one step for both."""
    make_dataset(tmp_path / "shapes", images=12, size=64)
    changes = {"input.scale": (64, 64), **SAME, **SGD, "evaluation.every": 9}
    config = compose(
        "fcos_tiny", "fcos", resolve(tmp_path / "shapes"), changes=changes, epochs=1, batch_size=4, accumulate=2
    )
    train(config, tmp_path / "alone", quiet=True)
    command = ["-m", "detassign.cli", "train", tmp_path / "alone" / "config.json", "--work-dir", tmp_path / "shared"]
    done = subprocess.run([*TORCHRUN, *map(str, command)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    mine, theirs = (safe_load(tmp_path / run / "epoch_1.pth")["state_dict"] for run in ("alone", "shared"))
    torch.manual_seed(config["seed"])
    start = build_model(config).state_dict()
    moved = max(float((mine[name] - start[name]).abs().max()) for name in mine)
    apart = max(float((mine[name] - theirs[name]).abs().max()) for name in mine)
    assert apart < 1e-3 * moved


def test_one_of_two_processes_writes_and_talks(runs):
    alone, shared, said = runs
    assert {path.name for path in shared.iterdir()} == {path.name for path in alone.iterdir()}
    assert said.count("run folder:") == 1


def test_what_is_counted_is_counted_in_all_processes(runs):
    mine, theirs = (json.loads((run / "summary.json").read_text()) for run in runs[:2])
    counts = ("steps", "positives_per_target", "effective_positives_per_target", "targets_without_positive")
    assert {name: theirs[name] for name in counts} == pytest.approx({name: mine[name] for name in counts})


def test_telemetry_is_of_all_processes_and_of_all_images_that_they_share(runs):
    """Sums over both shares of a batch; three followed images, two of one process and one of the other."""
    mine, theirs = (
        [line["telemetry"] for line in read_metrics(run / "metrics.jsonl") if "telemetry" in line] for run in runs[:2]
    )
    assert len(mine) == len(theirs) == 2
    for one, other in zip(mine, theirs, strict=True):
        for part in ("steps", "probe"):
            assert dict(numbers(other[part])) == pytest.approx(dict(numbers(one[part])), rel=1e-3, abs=1e-3)
    assert mine[1]["probe"].keys() > {"instability", "moved_by_layer"}
    histories = [read_history(run) for run in runs[:2]]
    assert histories[0].images == histories[1].images
    assert histories[0].columns["best"] == histories[1].columns["best"]


def numbers(value, name=""):
    """All numbers in nested dicts, by their keys in a row."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from numbers(inner, f"{name}.{key}")
    elif isinstance(value, int | float):
        yield name, value


def test_a_refusal_is_said_once_and_ends_all_processes(runs):
    _, shared, _ = runs
    command = ["-m", "detassign.cli", "train", str(shared / "config.json"), "--work-dir", str(shared)]
    done = subprocess.run([*TORCHRUN, *command], capture_output=True, text=True, timeout=300)
    assert done.returncode != 0
    assert done.stderr.count("holds a run already") == 1


def test_what_one_process_refuses_is_a_sentence_in_all(tmp_path):
    """The others lose it in the middle of a step, and do not answer with a stack of calls."""
    data = tmp_path / "shapes"
    make_dataset(data, images=5, size=64)
    picture = data / "images" / "train_000002.jpg"
    picture.write_bytes(picture.read_bytes()[:-200])  # its header is sound
    options = ("--detector", "fcos_tiny", "--data", str(data), "--batch-size", "2", "--epochs", "1")
    command = ["-m", "detassign.cli", "train", *options, "--work-dir", str(tmp_path / "run")]
    done = subprocess.run([*TORCHRUN, *command], capture_output=True, text=True, timeout=300)
    assert done.returncode != 0
    assert done.stderr.count("train_000002.jpg (64 x 64) cannot be read or resized") == 1
    assert "RuntimeError" not in done.stderr


def test_a_batch_that_cannot_be_shared_evenly_is_refused(monkeypatch):
    monkeypatch.setattr(processes, "count", lambda: 3)
    assert processes.share(6) == 2
    with pytest.raises(ValueError, match="batch size 16 cannot be shared out among 3 processes"):
        processes.share(16)


def test_every_process_has_its_own_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(processes, "count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert device_of({"device": "auto"}) == device_of({"device": "cuda"}) == torch.device("cuda", 1)
    assert device_of({"device": "cpu"}) == torch.device("cpu")
    with pytest.raises(ValueError, match="cuda:0 is one GPU, and the job has 2 processes"):
        device_of({"device": "cuda:0"})
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ValueError, match="process 3 of this machine finds 2 GPUs"):
        device_of({"device": "cuda"})


def test_a_model_stays_on_the_device_of_its_config(tmp_path, monkeypatch):
    """mmengine's runner would move it to the first GPU, whatever device was asked for."""
    make_dataset(tmp_path / "data", images=3, size=64)
    monkeypatch.setattr(mmengine_runner, "get_device", lambda: "meta")
    config = compose("fcos_tiny", None, resolve(tmp_path / "data"), changes={"input.scale": (64, 64)}, epochs=1)
    summary = train({**config, "device": "cpu"}, tmp_path / "run", quiet=True)
    assert summary["steps"] == 1

"""What may change when a run goes on, what that changes, and what is another run."""

import json
import shutil

import pytest
import torch
from mmengine.runner import Runner

from detassign.data import make_dataset, resolve
from detassign.engine.config import compose, described
from detassign.engine.hooks import read_metrics
from detassign.engine.notes import Note
from detassign.engine.resuming import differences, refused
from detassign.engine.train import train


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "shapes"
    make_dataset(folder, images=8, size=64)
    return resolve(folder)


def config_of(source, epochs=2, batch_size=2, **changes):
    small = {"model.backbone.base_channels": 4, "model.neck.in_channels": (8, 16, 32), "model.neck.out_channels": 8}
    small |= {"model.head.in_channels": 8, "model.head.feat_channels": 8, "model.head.norm_groups": 4}
    small |= {"input.scale": (64, 64), "model.head.stacked_convs": 1, "evaluation.every": 9}
    return compose("fcos_tiny", "fcos", source, changes={**small, **changes}, epochs=epochs, batch_size=batch_size)


@pytest.fixture(scope="module")
def finished(source, tmp_path_factory):
    """Two epochs of three steps. Not to be changed."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(config_of(source), folder, quiet=True)
    return folder


@pytest.fixture
def copied(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "copied")


def rates(folder):
    """Learning rates of the steps of each epoch."""
    lines = [line for line in read_metrics(folder / "metrics.jsonl") if "loss" in line]
    return {
        epoch: [line["lr"] for line in lines if line["epoch"] == epoch] for epoch in {line["epoch"] for line in lines}
    }


@pytest.mark.parametrize("decay", [None, {"type": "step", "epochs": [3], "gamma": 0.1}], ids=["cosine", "step"])
def test_more_epochs_go_on_at_the_rate_that_so_many_epochs_have(source, tmp_path, decay):
    changes = {"schedule.decay": decay} if decay else {}
    train(config_of(source, 2, **changes), tmp_path / "short", quiet=True)
    train(config_of(source, 4, **changes), tmp_path / "long", quiet=True)
    with pytest.warns(Note) as notes:
        summary = train(config_of(source, 4, **changes), tmp_path / "short", resume=True, quiet=True)
    assert "schedule.epochs was 2 and is 4: the learning rate follows the curve of that many" in str(notes[0].message)
    short, long = rates(tmp_path / "short"), rates(tmp_path / "long")
    assert short.keys() == long.keys() == {1, 2, 3, 4}
    assert [rate for epoch in (3, 4) for rate in short[epoch]] == pytest.approx([r for e in (3, 4) for r in long[e]])
    assert summary["steps"] == 12
    last = torch.load(tmp_path / "short" / "epoch_4.pth", weights_only=False)
    assert (last["meta"]["epoch"], last["meta"]["iter"]) == (4, 12)
    assert last["run"]["config"]["schedule"]["epochs"] == 4


def test_what_a_change_of_pace_does_to_the_rate_is_said(copied, source):
    """After a cosine's end the rate of a longer one is far higher."""
    with pytest.warns(Note) as notes:
        train(config_of(source, 3), copied, resume=True, quiet=True)
    said = [str(note.message) for note in notes]
    assert any("the learning rate goes on at" in sentence and "where it was" in sentence for sentence in said)
    assert "schedule.epochs was 2 and is 3" in (copied / "train.log").read_text()


def test_a_longer_run_that_is_stopped_goes_on_at_its_pace(copied, source, tmp_path, monkeypatch):
    """What a checkpoint was written under counts, not what the folder's config has come to say since."""
    whole = shutil.copytree(copied, tmp_path / "whole")
    monkeypatch.setattr(Runner, "call_hook", stop_at("before_train_epoch"))
    with pytest.warns(Note), pytest.raises(KeyboardInterrupt):
        train(config_of(source, 4), copied, resume=True, quiet=True)
    monkeypatch.undo()
    assert not (copied / "summary.json").exists()  # a run that goes on is not over
    with pytest.warns(Note):
        train(config_of(source, 4), copied, resume=True, quiet=True)
    with pytest.warns(Note):
        train(config_of(source, 4), whole, resume=True, quiet=True)
    assert rates(copied) == rates(whole)


def stop_at(name):
    usual = Runner.call_hook

    def call(runner, place, **named):
        if place == name:
            raise KeyboardInterrupt
        usual(runner, place, **named)

    return call


def test_another_batch_size_scales_the_rate_and_counts_other_steps(copied, source):
    with pytest.warns(Note) as notes:
        train(config_of(source, 3, batch_size=3), copied, resume=True, quiet=True)
    assert "schedule.batch_size was 2 and is 3: the learning rate is scaled with it" in str(notes[1].message)
    train(config_of(source, 3, batch_size=3), copied.parent / "whole", quiet=True)
    resumed, whole = rates(copied), rates(copied.parent / "whole")
    assert [len(resumed[epoch]) for epoch in (1, 2, 3)] == [3, 3, 2]
    assert resumed[3] == pytest.approx(whole[3])
    steps = [line["step"] for line in read_metrics(copied / "metrics.jsonl") if "loss" in line]
    assert steps == list(range(1, 9))


@pytest.mark.parametrize(
    ("key", "value"), [("input.workers", 1), ("evaluation.every", 1), ("evaluation.batch_size", 1), ("name", "other")]
)
def test_what_changes_nothing_is_taken_in_silence(source, key, value):
    config = config_of(source)
    changed = config_of(source, **{key: value})
    assert differences(config, changed).keys() == {key}
    assert not refused(differences(config, changed))


@pytest.mark.parametrize(
    ("before", "now", "same"),
    [("auto", "float32", True), ("amp", "bfloat16", True), ("amp", "float32", False), ("float32", "bfloat16", False)],
)
def test_a_precision_that_was_left_to_the_machine_has_a_name_now(source, before, now, same):
    found = differences(config_of(source, precision=before), config_of(source, precision=now))
    assert found.keys() == {"precision"}
    assert (not refused(found)) is same


def test_moved_data_is_taken_and_the_folder_says_where_it_is(copied, source, tmp_path):
    shutil.copytree(source.train_images.parent, tmp_path / "moved")
    moved = {**config_of(source), "data": described(resolve(tmp_path / "moved"))}
    assert differences(config_of(source), moved)
    train(moved, copied, resume=True, quiet=True)
    assert f'"{tmp_path / "moved" / "train.json"}"' in (copied / "config.json").read_text()


def test_other_annotations_are_noticed(copied, source, tmp_path):
    folder = tmp_path / "shapes"
    make_dataset(folder, images=8, size=64, seed=5)
    with pytest.warns(Note, match="the training annotations are not those that the run has learnt from so far"):
        train({**config_of(source), "data": described(resolve(folder))}, copied, resume=True, quiet=True)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seed": 3}, "seed is 0 there and 3 here"),
        ({"schedule.clip": 7.0}, r"schedule\.clip is .* there and 7\.0 here"),
        ({"schedule.optimizer.lr": 1.0}, r"schedule\.optimizer\.lr is .* there and 1\.0 here"),
        ({"input.scale": (96, 96)}, r"input\.scale is \[64, 64\] there and \[96, 96\] here"),
        ({"evaluation.max_detections": 7}, r"evaluation\.max_detections is 100 there and 7 here"),
    ],
)
def test_another_run_is_refused_by_its_keys(copied, source, changes, said):
    before = {path: path.read_bytes() for path in copied.iterdir()}
    with pytest.raises(
        ValueError, match=f"a run of another config: {said}; --resume takes other epochs, decay, batch size"
    ):
        train(config_of(source, **changes), copied, resume=True, quiet=True)
    assert {path: path.read_bytes() for path in copied.iterdir()} == before


def test_fewer_epochs_than_are_done_are_refused(copied, source):
    with pytest.raises(ValueError, match=r"schedule\.epochs: the run has 2 epochs behind it already, got 1"):
        train(config_of(source, 1), copied, resume=True, quiet=True)


def test_a_run_goes_on_without_the_weights_that_it_started_from(source, tmp_path):
    """They are in its checkpoint."""
    first = tmp_path / "first"
    train(config_of(source, 1), first, quiet=True)
    weights = shutil.copy(first / "epoch_1.pth", tmp_path / "start.pth")
    started = {**config_of(source, 1), "init": str(weights)}
    train(started, tmp_path / "run", quiet=True)
    (tmp_path / "start.pth").unlink()
    with pytest.warns(Note):
        train({**started, **config_of(source, 2), "init": str(weights)}, tmp_path / "run", resume=True, quiet=True)
    assert (tmp_path / "run" / "epoch_2.pth").exists()


def older(config):
    """A config as runs wrote it before precision and the settings of averages, parts and augmentations."""
    kept = {key: value for key, value in config.items() if key not in ("precision", "log", "telemetry")}
    sections = ("input", "schedule", "evaluation")
    plain = {name: {k: v for k, v in config[name].items() if v is not None or k == "multi_scale"} for name in sections}
    return {**kept, **plain, "amp": False}


def test_a_run_of_an_older_form_goes_on(copied, source):
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps(older(config)))
    for name in ("epoch_1.pth", "epoch_2.pth", "best.pth"):
        if (copied / name).exists():
            content = torch.load(copied / name, weights_only=False)
            content["run"]["config"] = older(content["run"]["config"])
            (copied / name).unlink()
            torch.save(content, copied / name)
    with pytest.warns(Note) as notes:
        train(config_of(source, 3), copied, resume=True, quiet=True)
    assert not [note for note in notes if "another run" in str(note.message) or "unused" in str(note.message)]
    assert (copied / "epoch_3.pth").exists()

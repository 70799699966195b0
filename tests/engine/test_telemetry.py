"""Telemetry of whole runs: what it writes, that it changes nothing, and that a resumed run's is an uninterrupted one's."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support.telemetry import image

from detassign.compat.checkpoint import safe_load
from detassign.data import make_dataset, resolve
from detassign.engine import hooks
from detassign.engine.build import build_model
from detassign.engine.config import compose, read
from detassign.engine.hooks import AssignmentStatistics, MetricsFile, read_metrics
from detassign.engine.telemetry import Telemetry, images_to_follow
from detassign.engine.train import find_run, train
from detassign.evidence.telemetry.history import HISTORY, read_history

DENSE = {"model.head.stacked_convs": 1}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "shapes"
    make_dataset(folder, images=10, size=64)
    return resolve(folder)


def config(source, detector="fcos_tiny", assigner="dw", telemetry=True, **changes):
    few = {"telemetry.every": 1, "telemetry.images": 3, "evaluation.every": 2}
    changes = {"input.scale": (64, 64), **few, **changes}
    return compose(detector, assigner, source, changes=changes, epochs=2, batch_size=4, telemetry=telemetry)


@pytest.fixture(scope="module")
def dense_run(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "dense"
    return folder, train(config(source, **DENSE), folder, quiet=True)


@pytest.fixture(scope="module")
def query_run(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "query"
    train(config(source, "dino_r18_tiny", None), folder, quiet=True)
    return folder


def entries(folder):
    """The telemetry of each epoch, without how long it took."""
    lines = [line for line in read_metrics(folder / "metrics.jsonl") if "telemetry" in line]
    return [(line["epoch"], {key: line["telemetry"][key] for key in ("steps", "probe")}) for line in lines]


def test_every_epoch_of_a_dense_run_has_an_entry_and_the_counts_of_the_summary(dense_run):
    folder, summary = dense_run
    found = dict(entries(folder))
    assert list(found) == [1, 2]
    assert found[1]["probe"]["images"] == 3
    assert "instability" not in found[1]["probe"]
    assert 0 < found[2]["probe"]["moved"] < 1
    assert list(found[1]["steps"]["positives_by_level"]) == ["8", "16", "32", "64"]
    seen = [sum(epoch["steps"]["targets_by_size"].values()) for epoch in found.values()]
    pairs = [
        count * sum(epoch["steps"]["positives_by_level"].values())
        for count, epoch in zip(seen, found.values(), strict=True)
    ]
    assert sum(pairs) / sum(seen) == pytest.approx(summary["positives_per_target"])


def test_a_query_run_tells_its_layers_apart(query_run):
    found = dict(entries(query_run))
    assert list(found[2]["probe"]["instability_by_layer"]) == ["0", "1", "2", "encoder"]
    assert list(found[2]["probe"]["moved_between_layers"]) == ["1", "2"]
    assert found[2]["steps"]["positives_by_level"] == {"0": 1, "1": 1, "2": 1, "encoder": 1}
    history = read_history(query_run)
    objects = sum(len(image["objects"]) for image in history.images)
    assert found[2]["probe"]["instability"] <= 2 * objects / 3
    assert {look["samples"] for look in history.of(history.images[0]["index"], 0)} == {1}


def test_the_history_is_of_the_objects_in_the_annotations(dense_run, source):
    history = read_history(dense_run[0])
    document = json.loads(source.train_annotations.read_text())
    for each in history.images:
        assert document["images"][each["index"]]["file_name"] == each["file"]
        learnt = [one for one in document["annotations"] if one["image_id"] == each["id"] and not one["iscrowd"]]
        assert [one["box"] for one in each["objects"]] == [one["bbox"] for one in learnt]
    assert history.epochs == [1, 2]


def test_telemetry_changes_nothing_about_the_training(dense_run, source, tmp_path):
    train(config(source, telemetry=None, **DENSE), tmp_path / "plain", quiet=True)
    losses = [[line.get("loss") for line in steps(folder)] for folder in (dense_run[0], tmp_path / "plain")]
    assert losses[0] == losses[1]
    own, plain = (safe_load(folder / "epoch_2.pth") for folder in (dense_run[0], tmp_path / "plain"))
    for name, value in plain["state_dict"].items():
        torch.testing.assert_close(own["state_dict"][name], value, rtol=0, atol=0)
    assert not (tmp_path / "plain" / HISTORY).exists()
    assert "telemetry" not in plain
    assert read(tmp_path / "plain" / "config.json")["telemetry"]["on"] is False


def steps(folder):
    return [line for line in read_metrics(folder / "metrics.jsonl") if "seconds" in line]


@pytest.mark.parametrize("kind", ["dense", "query"])
def test_the_telemetry_of_a_resumed_run_is_that_of_an_uninterrupted_one(kind, request, tmp_path, monkeypatch):
    whole = request.getfixturevalue(f"{kind}_run")
    whole = whole[0] if isinstance(whole, tuple) else whole
    begun = hooks.EpochSeed.before_train_epoch

    def stop(hook, runner):
        if runner.epoch == 1:
            raise KeyboardInterrupt
        begun(hook, runner)

    settings = read(whole / "config.json")
    with monkeypatch.context() as patched:
        patched.setattr(hooks.EpochSeed, "before_train_epoch", stop)
        with pytest.raises(KeyboardInterrupt):
            train(settings, tmp_path / "run", quiet=True)
    train(settings, tmp_path / "run", resume=True, quiet=True)
    assert entries(tmp_path / "run") == entries(whole)
    assert (tmp_path / "run" / HISTORY).read_bytes() == (whole / HISTORY).read_bytes()


@pytest.mark.filterwarnings("ignore::detassign.engine.notes.Note")  # of another number of epochs
def test_a_run_may_go_on_with_telemetry_that_it_began_without(source, tmp_path):
    short = config(source, telemetry=None, **DENSE)
    short["schedule"]["epochs"] = 1
    train(short, tmp_path / "run", quiet=True)
    longer = config(source, **DENSE)
    train(longer, tmp_path / "run", resume=True, quiet=True)
    assert [epoch for epoch, _ in entries(tmp_path / "run")] == [2]
    assert read_history(tmp_path / "run").epochs == [2]


def test_a_config_from_before_telemetry_is_without(dense_run, tmp_path):
    old = json.loads((dense_run[0] / "config.json").read_text())
    del old["telemetry"]
    (tmp_path / "config.json").write_text(json.dumps(old))
    assert read(tmp_path / "config.json")["telemetry"]["on"] is False


@pytest.mark.parametrize("assigner", ["dw", "yolov10", "tood", "autoassign", "ota", "detr"])
def test_a_look_leaves_the_model_as_it_was(assigner, source, tmp_path):
    """Running means of assigners, two-headed ones, bags, a score model with a background."""
    detector = "detr_tiny" if assigner == "detr" else "fcos_tiny"
    settings = config(source, detector, assigner)
    model = build_model(settings).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    watch = Telemetry(settings, model, AssignmentStatistics(), MetricsFile(tmp_path / "m"), tmp_path, print)
    first, second = watch._look(), watch._look()
    assert model.training
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    assert sum(len(image.weight) for image in first) > 0
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.vectors(), other.vectors())
        np.testing.assert_array_equal(one.weight, other.weight)


def test_what_is_bad_is_said_and_logged(source, tmp_path, monkeypatch):
    settings = config(source, **{"telemetry.patience": 1})
    said, logged = [], []
    statistics, metrics = AssignmentStatistics(), MetricsFile(tmp_path / "metrics.jsonl")
    watch = Telemetry(settings, build_model(settings), statistics, metrics, tmp_path, said.append)
    nothing = [image(objects=len(each["objects"])) for each in watch.probe.images]
    monkeypatch.setattr(watch, "_look", lambda: nothing)
    watch.after_train_epoch(SimpleNamespace(epoch=0, iter=2, logger=SimpleNamespace(info=logged.append)))
    assert said == logged != []
    assert all("had no sample that learns them for 1 epoch;" in sentence for sentence in said)
    assert [(epoch, found["steps"]) for epoch, found in entries(tmp_path)] == [(1, None)]


def test_the_images_that_are_followed_have_objects_and_depend_on_nothing_but_the_data(source):
    chosen = images_to_follow(source, 3)
    assert chosen == images_to_follow(source, 3)
    assert [image["index"] for image in chosen] == sorted({image["index"] for image in chosen})
    assert all(image["objects"] for image in chosen)
    everything = images_to_follow(source, 100)
    assert len(everything) <= 8
    assert [image for image in everything if image in chosen] == chosen


def test_a_checkpoint_of_a_run_with_telemetry_is_found_and_safe(dense_run):
    _, checkpoint = find_run(dense_run[0])
    assert safe_load(checkpoint)["telemetry"]["epochs"] == [1, 2]

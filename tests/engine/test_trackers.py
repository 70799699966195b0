"""Metrics that go elsewhere as well: what is written is read back, what is not installed is said before anything begins."""

import sys
from types import SimpleNamespace

import pytest
from mmengine.hooks import Hook
from mmengine.visualization import BaseVisBackend

from detassign.data import make_dataset, resolve
from detassign.engine import trackers as module
from detassign.engine.config import compose
from detassign.engine.hooks import read_metrics
from detassign.engine.trackers import Trackers, check_trackers, scalars
from detassign.engine.train import train

SMALL = {"model.backbone.base_channels": 4, "model.neck.in_channels": (8, 16, 32), "model.neck.out_channels": 8}
SMALL |= {"model.head.in_channels": 8, "model.head.feat_channels": 8, "model.head.norm_groups": 4}
SMALL |= {"input.scale": (64, 64), "model.head.stacked_convs": 1, "telemetry.images": 2, "telemetry.every": 1}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "shapes"
    make_dataset(folder, images=6, size=64)
    return resolve(folder)


def test_tensorboard_has_every_number_of_the_metrics_file(source, tmp_path):
    loading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason="no tensorboard")
    config = compose(
        "fcos_tiny", "fcos", source, changes=SMALL, epochs=2, batch_size=2, telemetry=True, ema=0.9, log=["tensorboard"]
    )
    train(config, tmp_path / "run", quiet=True)
    events = loading.EventAccumulator(str(tmp_path / "run" / "tensorboard"), {loading.SCALARS: 0})
    events.Reload()
    lines = read_metrics(tmp_path / "run" / "metrics.jsonl")
    wanted = {(name, line["step"]): value for line in lines for name, value in scalars(line).items()}
    found = {(name, one.step): one.value for name in events.Tags()["scalars"] for one in events.Scalars(name)}
    assert {name for name, _ in wanted} >= {
        "train/loss", "train/lr", "val/AP", "val/ema/AP", "val/classes/star", "telemetry/probe/instability",
        "telemetry/steps/contested",
    }  # fmt: skip
    assert wanted.keys() <= found.keys()
    assert {key: found[key] for key in wanted} == pytest.approx(wanted, rel=1e-6)


def test_mlflow_has_the_numbers_and_the_files_of_a_run_in_its_folder(source, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="no mlflow")
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    config = compose("fcos_tiny", "fcos", source, changes=SMALL, epochs=2, batch_size=2, log=["mlflow"])
    train(config, tmp_path / "run", quiet=True)
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'run' / 'mlflow' / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("detassign").experiment_id])
    lines = [line for line in read_metrics(tmp_path / "run" / "metrics.jsonl") if "AP" in line]
    history = client.get_metric_history(run.info.run_id, "val/AP")
    assert [(one.step, one.value) for one in history] == [(line["step"], line["AP"]) for line in lines]
    assert run.info.run_name == "run"
    files = {"config.json", "metrics.jsonl", "train.log"}
    assert _artifacts(client, run) == files | {"config.py"}

    train({**config, "schedule": {**config["schedule"], "epochs": 3}}, tmp_path / "run", resume=True, quiet=True)
    resumed, _ = client.search_runs([client.get_experiment_by_name("detassign").experiment_id])
    assert resumed.info.run_id != run.info.run_id
    assert _artifacts(client, resumed) == files | {"config.py"}


def _artifacts(client, run):
    return {file.path for file in client.list_artifacts(run.info.run_id)}


def test_mlflow_is_handed_the_runs_own_files_and_not_what_it_keeps_itself(tmp_path, monkeypatch):
    """Its store is in the run's folder, where a run that goes on finds the files of the one before."""
    given = []
    mlflow = SimpleNamespace(log_artifact=lambda *file: given.append(file), end_run=lambda: given.append("ended"))
    for name in ("set_tracking_uri", "get_experiment_by_name", "set_experiment", "set_tag", "log_params", "log_text"):
        setattr(mlflow, name, lambda *_: "whatever")
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    trackers = Trackers(["mlflow"], tmp_path, {})
    for folder in (tmp_path, tmp_path / "mlflow" / "artifacts" / "earlier" / "artifacts"):
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("config.json", "metrics.jsonl", "summary.json"):
            (folder / name).write_text("{}")
    assert trackers.close() == []
    assert given == [(str(tmp_path / "config.json"),), (str(tmp_path / "metrics.jsonl"),), "ended"]


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_a_package_that_is_missing_is_said_before_there_is_a_folder(source, tmp_path, monkeypatch, name):
    monkeypatch.setattr(module, "find_spec", lambda package: None)
    config = compose("fcos_tiny", "fcos", source, changes=SMALL, log=[name])
    with pytest.raises(ValueError, match=rf"log: {name} is not installed; 'pip install {name}', or leave it out"):
        train(config, tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="unknown log 'tensorbord'; did you mean 'tensorboard'"):
        check_trackers(["tensorbord"])


class Kept(BaseVisBackend):
    """Keeps what it is told."""

    def _init_env(self):
        pass

    @property
    def experiment(self):
        return self

    def add_config(self, config):
        self.config, self.told = config.to_dict(), []

    def add_scalars(self, scalar_dict, step=0):
        self.told.append((step, scalar_dict))


def test_a_tracker_is_told_the_config_and_each_line_at_its_step(monkeypatch, tmp_path):
    monkeypatch.setitem(module.TRACKERS, "kept", lambda folder: Kept(str(folder)))
    trackers = Trackers(["kept"], tmp_path, {"seed": 3, "schedule": {"epochs": 2}, "data": {"classes": ["a"]}})
    trackers([{"step": 7, "epoch": 2, "loss": 0.5, "broken": None, "odd (name)": 1}])
    (backend,) = trackers.backends.values()
    assert (backend.config["seed"], backend.config["schedule"]) == (3, {"epochs": 2})
    assert backend.told == [(7, {"train/loss": 0.5, "train/odd _name_": 1, "steps": 7, "epoch": 2})]


class Gone(Kept):
    """Its server is gone when the run ends."""

    def close(self):
        raise ConnectionError("no\nanswer")


def test_trackers_that_fail_to_close_are_noted_and_the_others_are_closed(monkeypatch, tmp_path):
    closed = []
    monkeypatch.setattr(Kept, "close", lambda backend: closed.append(backend), raising=False)
    for name, kind in (("gone", Gone), ("kept", Kept)):
        monkeypatch.setitem(module.TRACKERS, name, lambda folder, kind=kind: kind(str(folder)))
    trackers = Trackers(["gone", "kept"], tmp_path)
    assert trackers.close() == [
        "log: gone may miss the end of this run: no answer; metrics.jsonl has all of it",
    ]
    assert closed == [trackers.backends["kept"]]


def test_a_run_whose_tracker_fails_to_close_has_its_summary(source, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(module.TRACKERS, "gone", lambda folder: Gone(str(folder)))
    monkeypatch.setattr(module, "find_spec", lambda package: True)
    config = compose("fcos_tiny", "fcos", source, changes=SMALL, epochs=1, batch_size=2, log=["gone"])
    summary = train(config, tmp_path / "run", quiet=True)
    assert (tmp_path / "run" / "summary.json").is_file()
    assert "AP" in summary["metrics"]
    assert "log: gone may miss the end of this run: no answer" in capsys.readouterr().err


def test_a_training_that_fails_raises_its_own_error_and_not_its_trackers(source, tmp_path, monkeypatch):
    monkeypatch.setitem(module.TRACKERS, "gone", lambda folder: Gone(str(folder)))
    monkeypatch.setattr(module, "find_spec", lambda package: True)
    config = compose("fcos_tiny", "fcos", source, changes=SMALL, epochs=1, batch_size=2, log=["gone"])

    class Broken(Hook):
        def after_train_iter(self, *_, **__):
            raise ZeroDivisionError("of the training")

    with pytest.raises(ZeroDivisionError, match="of the training"):
        train(config, tmp_path / "run", quiet=True, watching=[Broken()])

"""The average of the weights: its formula, what it leaves alone, and what of it lies in a run's folder."""

import shutil
from types import SimpleNamespace

import pytest
import torch
from mmengine.runner import Runner
from torch import nn

from detassign.data import make_dataset, resolve
from detassign.engine import evaluation
from detassign.engine.averaging import WeightAverage, decay_after
from detassign.engine.build import build_model, load_checkpoint
from detassign.engine.checkpoints import choose
from detassign.engine.config import compose, read
from detassign.engine.hooks import read_metrics
from detassign.engine.loops import Evaluation
from detassign.engine.notes import Note
from detassign.engine.train import train

SMALL = {"model.backbone.base_channels": 4, "model.neck.in_channels": (8, 16, 32), "model.neck.out_channels": 8}
SMALL |= {"model.head.in_channels": 8, "model.head.feat_channels": 8, "model.head.norm_groups": 4}
SMALL |= {"input.scale": (64, 64), "model.head.stacked_convs": 1}


class Pair(nn.Module):
    """A frozen weight, a norm, and two layers of one weight."""

    def __init__(self):
        super().__init__()
        self.norm, self.one, self.other = nn.BatchNorm1d(2), nn.Linear(2, 2, bias=False), nn.Linear(2, 2)
        self.other.weight = self.one.weight
        self.other.bias.requires_grad_(False)


def test_the_average_follows_weights_and_statistics_at_a_decay_that_rises():
    model, decays = Pair(), []
    average = WeightAverage(model, 0.15)
    average.before_train(None)
    weight, mean = model.one.weight.detach().clone(), model.norm.running_mean.clone()
    for step in range(3):
        with torch.no_grad():
            model.one.weight.add_(step + 1.0)
            model.norm.running_mean.add_(step - 3.0)
        average.after_train_iter(None, step)
        decays.append(decay_after(step, 0.15))
        weight = decays[-1] * weight + (1 - decays[-1]) * model.one.weight.detach()
        mean = decays[-1] * mean + (1 - decays[-1]) * model.norm.running_mean
    assert decays == [0.1, 0.15, 0.15]
    with average.in_use():
        torch.testing.assert_close(model.other.weight.detach(), weight)
        torch.testing.assert_close(model.norm.running_mean, mean)


def test_a_checkpoint_has_the_average_of_a_shared_weight_under_both_names():
    model = Pair()
    average = WeightAverage(model, 0.5)
    average.before_train(None)
    with torch.no_grad():
        model.one.weight.zero_()
    average.after_train_iter(None, 0)
    checkpoint = {"state_dict": model.state_dict()}
    average.before_save_checkpoint(None, checkpoint)
    state = checkpoint["ema_state_dict"]
    assert state.keys() == model.state_dict().keys()
    assert torch.equal(state["one.weight"], state["other.weight"])
    assert state["one.weight"].abs().sum() > 0
    assert "other.bias" not in average.names


def test_the_model_has_its_own_weights_again_after_the_average_was_in_use():
    model = Pair()
    average = WeightAverage(model, 0.5)
    average.before_train(None)
    with torch.no_grad():
        model.one.weight.mul_(torch.pi)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with average.in_use():
        assert not torch.equal(model.one.weight, before["one.weight"])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "shapes"
    make_dataset(folder, images=8, size=64)
    return resolve(folder)


def config_of(source, ema=0.9, epochs=3):
    return compose("fcos_tiny", "fcos", source, changes=SMALL, epochs=epochs, batch_size=2, ema=ema)


def go(config, folder, scores, **named):
    """Trains with APs of our choice: of the weights, of the average, of the weights, …"""
    values = iter(scores)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(evaluation, "average_precision", lambda *_: {"AP": next(values), "classes": {"disc": 0.5}})
        return train(config, folder, quiet=True, **named)


SCORES = (0.1, 0.3, 0.2, 0.2, 0.15, 0.4)


@pytest.fixture(scope="module")
def run(source, tmp_path_factory):
    """Three epochs; the weights are best after the second, their average after the third. Not to be changed."""
    folder = tmp_path_factory.mktemp("run") / "one"
    return folder, go(config_of(source), folder, SCORES)


def held(path, key="state_dict"):
    return torch.load(path, weights_only=False)[key]


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def test_both_are_measured_and_each_has_a_best_epoch(run):
    folder, summary = run
    assert (summary["best"], summary["best_ema"]) == ({"epoch": 2, "AP": 0.2}, {"epoch": 3, "AP": 0.4})
    assert (summary["metrics"]["AP"], summary["ema"]["metrics"]["AP"]) == (0.15, 0.4)
    assert [point["ema"] for point in summary["curve"]] == [{"AP": 0.3}, {"AP": 0.2}, {"AP": 0.4}]
    assert [line["ema"]["AP"] for line in read_metrics(folder / "metrics.jsonl") if "AP" in line] == [0.3, 0.2, 0.4]
    log = (folder / "train.log").read_text()
    assert "epoch 3/3, averaged weights: AP 40.0" in log


def test_the_best_average_is_a_checkpoint_like_any_other(run, source):
    folder, _ = run
    chosen = choose(folder, "ema")
    assert (chosen.path.name, chosen.epoch) == ("best_ema.pth", 3)
    averages = held(folder / "best_ema.pth")
    assert same(averages, held(folder / "epoch_3.pth", "ema_state_dict"))
    assert not same(averages, held(folder / "epoch_3.pth"))
    model = build_model(config_of(source), initialise=False)
    load_checkpoint(model, chosen.path, source.classes)
    assert same(model.state_dict(), averages)


def test_learning_is_the_same_without_an_average(run, source, tmp_path):
    plain = go(config_of(source, ema=None), tmp_path / "plain", SCORES[::2])
    assert (plain["ema"], plain["best_ema"]) == (None, None)
    assert same(held(tmp_path / "plain" / "epoch_3.pth"), held(run[0] / "epoch_3.pth"))
    with pytest.raises(FileNotFoundError, match=r"holds no best_ema\.pth; 'train --ema' makes one"):
        choose(tmp_path / "plain", "ema")


@pytest.mark.parametrize("unmeasured", [False, True])
def test_a_resumed_average_equals_an_uninterrupted_one(run, source, tmp_path, unmeasured):
    """Stopped before the third epoch, or after the second one was written and before it was measured."""
    folder, scores = tmp_path / "two", SCORES[:2] if unmeasured else SCORES[:4]
    with pytest.MonkeyPatch.context() as patched:
        if unmeasured:
            patched.setattr(Evaluation, "run", interrupted(Evaluation.run, lambda loop: loop.runner.epoch == 2))
        else:
            patched.setattr(Runner, "call_hook", interrupted(Runner.call_hook, begins_third_epoch))
        with pytest.raises(KeyboardInterrupt):
            go(config_of(source), folder, scores)
    summary = go(config_of(source), folder, SCORES[len(scores) :], resume=True)
    for key in ("state_dict", "ema_state_dict"):
        assert same(held(folder / "epoch_3.pth", key), held(run[0] / "epoch_3.pth", key))
    assert held(folder / "epoch_3.pth", "ema_updates") == 9
    assert same(held(folder / "best_ema.pth"), held(run[0] / "best_ema.pth"))
    assert {key: summary[key] for key in ("best", "best_ema")} == {key: run[1][key] for key in ("best", "best_ema")}


def interrupted(usual, when):
    def call(self, *arguments, **named):
        if when(self, *arguments):
            raise KeyboardInterrupt
        return usual(self, *arguments, **named)

    return call


def begins_third_epoch(runner, name):
    return name == "before_train_epoch" and runner.epoch == 2


def test_a_lost_file_of_the_best_average_is_written_again(run, source, tmp_path):
    folder = shutil.copytree(run[0], tmp_path / "copied")
    before = held(folder / "best_ema.pth")
    (folder / "best_ema.pth").unlink()
    with pytest.warns(Note, match="of epoch 1, is gone"):
        go(config_of(source, epochs=3), folder, (), resume=True)
    assert same(held(folder / "best_ema.pth"), before)


def test_a_run_without_may_go_on_with_one(source, tmp_path):
    go(config_of(source, ema=None, epochs=1), tmp_path / "run", (0.1,))
    with pytest.warns(Note) as notes:
        summary = go(config_of(source, epochs=2), tmp_path / "run", (0.1, 0.2), resume=True)
    assert any("no averaged weights, so their average begins here" in str(note.message) for note in notes)
    assert summary["best_ema"] == {"epoch": 2, "AP": 0.2}
    assert held(tmp_path / "run" / "epoch_2.pth", "ema_updates") == 3


def test_averages_of_another_model_begin_anew():
    average = WeightAverage(Pair(), 0.5)
    checkpoint = {"ema_state_dict": {"one.weight": torch.zeros(3, 3)}, "ema_updates": 7}
    with pytest.warns(Note, match="not this model's"):
        average.after_load_checkpoint(SimpleNamespace(), checkpoint)
    assert average.updates == 0


def test_an_older_config_is_without_and_a_decay_out_of_range_is_refused(run, source, tmp_path):
    config = read(run[0] / "config.json")
    assert config["schedule"]["ema"] == 0.9
    text = (run[0] / "config.json").read_text().replace('"ema": 0.9,', "")
    (tmp_path / "older.json").write_text(text)
    assert read(tmp_path / "older.json")["schedule"]["ema"] is None
    with pytest.raises(ValueError, match=r"schedule\.ema is 2; expected a number between 0 and 1 or None"):
        config_of(source, ema=2)


def test_an_average_that_begins_in_a_resumed_run_begins_at_the_weights_of_its_checkpoint(source, tmp_path, monkeypatch):
    go(config_of(source, ema=None, epochs=1), tmp_path / "run", SCORES)
    weights, begun = held(tmp_path / "run" / "epoch_1.pth"), []
    usual = WeightAverage.before_train

    def before_train(average, runner):
        usual(average, runner)
        begun.append({name: average.averages[id(tensor)].clone() for name, tensor in average.names.items()})

    monkeypatch.setattr(WeightAverage, "before_train", before_train)
    with pytest.warns(Note) as told:
        go(config_of(source, epochs=2), tmp_path / "run", SCORES, resume=True)
    assert any("no averaged weights, so their average begins here" in str(each.message) for each in told)
    assert all(torch.equal(value, weights[name]) for name, value in begun[0].items())

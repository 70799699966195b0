"""Batches in parts: the step of the whole batch, its length of an epoch, and nothing left over."""

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import nn

from detassign.data import make_dataset, resolve
from detassign.engine.config import compose
from detassign.engine.hooks import read_metrics
from detassign.engine.loops import learn_from
from detassign.engine.telling import pace
from detassign.engine.train import train

SMALL = {"model.backbone.base_channels": 4, "model.neck.in_channels": (8, 16, 32), "model.neck.out_channels": 8}
SMALL |= {"model.head.in_channels": 8, "model.head.feat_channels": 8, "model.head.norm_groups": 4}
SMALL |= {"input.scale": (64, 64), "model.head.stacked_convs": 1, "evaluation.every": 9}


class Mean(BaseModel):
    """Its loss is a mean over images, so parts of one size give the whole."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))

    def forward(self, inputs, data_samples=None, mode="tensor"):
        return {"loss": (self.weight * torch.stack(inputs)).square().mean()}


def steps(parts, count=3):
    torch.manual_seed(0)
    model = Mean()
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1), accumulative_counts=parts)
    batches = [{"inputs": [torch.randn(3) for _ in range(6)], "data_samples": list(range(6))} for _ in range(count)]
    losses = [learn_from(model, batch, wrapper, parts)["loss"] for batch in batches]
    return model.weight.detach(), torch.stack(losses)


@pytest.mark.parametrize("parts", [2, 3, 6])
def test_parts_of_a_mean_learn_what_the_whole_learns(parts):
    for one, other in zip(steps(parts), steps(1), strict=True):
        torch.testing.assert_close(one, other)


def test_fewer_images_than_parts_are_refused():
    with pytest.raises(ValueError, match="2 images cannot be taken in 3 parts"):
        learn_from(Mean(), {"inputs": [torch.zeros(3)] * 2}, None, 3)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "shapes"
    make_dataset(folder, images=14, size=64)
    return resolve(folder)


def config_of(source, parts=2, batch_size=4, **changes):
    changes = {**SMALL, **changes}
    return compose("fcos_tiny", "fcos", source, changes=changes, epochs=2, batch_size=batch_size, accumulate=parts)


def test_a_run_in_parts_has_the_steps_of_whole_batches_and_goes_on_to_the_bit(source, tmp_path, monkeypatch):
    """Three steps of two parts in an epoch: were parts counted as steps, gradients would be left over at its end."""
    summary = train(config_of(source, batch_size=3, parts=3), tmp_path / "one", quiet=True)
    lines = [line for line in read_metrics(tmp_path / "one" / "metrics.jsonl") if "loss" in line]
    assert summary["steps"] == len(lines) == 2 * (len_of(source) // 3)
    usual = Runner.call_hook

    def call(runner, name, **named):
        if name == "before_train_epoch" and runner.epoch == 1:
            raise KeyboardInterrupt
        usual(runner, name, **named)

    monkeypatch.setattr(Runner, "call_hook", call)
    with pytest.raises(KeyboardInterrupt):
        train(config_of(source, batch_size=3, parts=3), tmp_path / "two", quiet=True)
    monkeypatch.undo()
    train(config_of(source, batch_size=3, parts=3), tmp_path / "two", resume=True, quiet=True)
    one, two = (
        torch.load(tmp_path / name / "epoch_2.pth", weights_only=False)["state_dict"] for name in ("one", "two")
    )
    assert all(torch.equal(value, two[name]) for name, value in one.items())


def test_a_run_takes_its_batches_in_parts_and_steps_after_each_batch(source, tmp_path, monkeypatch):
    seen, steps_taken = [], []
    forward, step = BaseModel.train_step, OptimWrapper.step

    def counted(model, batch, *given, **named):
        seen.append(len(batch["inputs"]))
        return forward(model, batch, *given, **named)

    monkeypatch.setattr(BaseModel, "train_step", counted)
    monkeypatch.setattr(OptimWrapper, "step", lambda wrapper, **named: steps_taken.append(1) or step(wrapper, **named))
    train(config_of(source, batch_size=4, parts=2), tmp_path / "run", quiet=True)
    steps_in_all = 2 * (len_of(source) // 4)
    assert seen == [2] * 2 * steps_in_all
    assert len(steps_taken) == steps_in_all


def len_of(source):
    return len(list(source.train_images.glob("train_*")))


def test_unequal_parts_are_refused_and_leave_no_folder(source, tmp_path):
    with pytest.raises(ValueError, match="4 images of a process do not make 3 equal parts"):
        train(config_of(source, parts=3), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_a_set_of_fewer_images_than_parts_is_refused_and_leaves_no_folder(source, tmp_path):
    images = len_of(source)
    with pytest.raises(ValueError, match=f"{images} images cannot be taken in 16 parts; give fewer parts"):
        train(config_of(source, parts=16, batch_size=16), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_another_batch_than_the_schedules_is_explained(source):
    rate = {"schedule.optimizer.lr": 0.004, "schedule.base_batch_size": 8}
    assert pace(config_of(source, None, 8, **rate)) == []
    (one,) = pace(config_of(source, None, 2, **rate))
    assert one.startswith(
        "the schedule's learning rate, 0.004, is for batches of 8 images; these have 2, so it is 0.001; "
    )
    assert "--batch-size 8 --accumulate 4" in one
    assert "--accumulate" not in pace(config_of(source, None, 3, **rate))[0]
    assert pace(config_of(source, None, 16, **rate))[0].endswith("these have 16, so it is 0.008")
    assert pace(config_of(source, 4, 8, **rate)) == [
        "every batch of 8 goes through the model in 4 parts of 2: each has normalisers and statistics of norms of its own"
    ]

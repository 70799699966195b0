"""The progress line: whole at every width, with time left, loss, AP in percent and rate."""

import io
import re
from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import DataLoader

from detassign.engine import hooks
from detassign.engine.datasets import Shuffled
from detassign.engine.progress import make_bar, note_of
from detassign.engine.terminal import terminal

TIME = re.compile(r"\d+:\d\d:\d\d|-:--:--")


def lines_of(bar):
    """What a bar draws, without colours."""
    written = terminal(file=io.StringIO(), width=bar.console.width, color_system=None)
    written.print(bar.get_renderable())
    return written.file.getvalue().splitlines()


@pytest.fixture
def run_bar(tmp_path, monkeypatch):
    """A run's bar on a terminal of some width after a step and an evaluation."""

    def show(width, loss=12.3456, scores=None):
        options = {"file": io.StringIO(), "width": width, "force_terminal": True, "color_system": None}
        monkeypatch.setattr(hooks, "terminal", lambda **_: terminal(**options))
        metrics = hooks.MetricsFile(tmp_path / "metrics.jsonl")
        hook = hooks.ProgressBar("fcos_tiny-center_prior+quality_focal-blood_cells", metrics)
        images = range(38828)
        optimizer = SimpleNamespace(param_groups=[{"lr": 0.00123}])
        runner = SimpleNamespace(
            iter=12344,
            epoch=10,
            max_epochs=12,
            train_dataloader=DataLoader(images, sampler=Shuffled(images, seed=0, batch_size=1)),
            val_dataloader=range(40),
            optim_wrapper=optimizer,
        )
        hook.before_train(runner)
        hook.after_val_iter(runner, 2)
        hook.evaluating = lines_of(hook.bar)
        if scores is not None:
            hook.after_val_epoch(runner, scores)
        outputs = {"loss": torch.tensor(loss), "loss_box": torch.tensor(1.0)}
        for one in (metrics, hook):
            one.after_train_iter(runner, 0, outputs=outputs)
        started.append(hook)
        return hook, lines_of(hook.bar)

    started = []
    yield show
    for hook in started:
        hook.stop()


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_a_runs_line_tells_time_left_loss_ap_in_percent_and_rate(run_bar, width):
    _, (line,) = run_bar(width, scores={"AP": 0.0144, "AP50": 0.0389})
    assert len(line.rstrip()) <= width
    assert "12345/90000" in line
    assert TIME.findall(line)
    assert "epoch 11/12  loss 12.35  AP 1.4  lr 1.2e-03" in line
    assert ("AP50 3.9" in line) == (width >= 100)


@pytest.mark.parametrize("width", [20, 40, 60])
def test_a_narrow_line_drops_what_is_worth_least_and_cuts_nothing(run_bar, width):
    hook, (line,) = run_bar(width, scores={"AP": 0.5, "AP50": 0.75})
    note = hook.bar.tasks[0].fields["note"]
    assert note in {"", "epoch 11/12", "epoch 11/12  loss 12.35", "epoch 11/12  loss 12.35  AP 50.0"}
    assert len(line) <= width
    if width >= 40:
        assert "12345/90000" in line
        assert TIME.findall(line)
        assert line.rstrip().endswith(note)


def test_an_evaluation_moves_too_and_ap_may_be_unknown(run_bar):
    hook, (line,) = run_bar(120, scores={"AP": float("nan"), "AP50": float("nan")})
    assert "evaluation 3/40" in hook.evaluating[0]
    assert "AP -  lr" in line


def test_losses_on_the_host_are_read_at_every_step_and_those_of_a_gpu_seldom(tmp_path):
    from detassign.bench.stand_in import OnGPU, stand_in

    runner = SimpleNamespace(iter=0, epoch=0, optim_wrapper=SimpleNamespace(param_groups=[{"lr": 0.1}]))
    for put, read in ((lambda value: value, [1, 1, 1]), (OnGPU, [1, 0, 0])):
        metrics, written = hooks.MetricsFile(tmp_path / "metrics.jsonl"), []
        metrics._write = lambda lines, written=written: written.append(len(lines))
        with stand_in():
            for _ in range(3):
                metrics.after_train_iter(runner, 0, outputs={"loss": put(torch.tensor(0.5))})
        assert written == [count for count in read if count]
        assert metrics.latest["loss"] == 0.5


@pytest.mark.parametrize("width", [60, 80, 160])
def test_a_bar_with_a_name_is_whole(width):
    bar = make_bar(terminal(file=io.StringIO(), width=width, color_system=None))
    task = bar.add_task("making images", total=123456, note="")
    bar.update(task, completed=100000, note=note_of(["one", "two"], bar, task))
    (line,) = lines_of(bar)
    assert line.startswith("making images ━")
    assert "100000/123456" in line
    assert TIME.findall(line)
    assert line.rstrip().endswith("one  two")

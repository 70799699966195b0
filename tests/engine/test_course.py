"""What goes by the course of a run: its picture, and its end for want of a better AP."""

import json
import math

import pytest
from matplotlib.image import imread
from mmengine.runner import Runner

from detassign.data import make_dataset, resolve
from detassign.engine import evaluation
from detassign.engine.config import compose
from detassign.engine.course import without_a_better_one
from detassign.engine.notes import Note
from detassign.engine.train import train
from detassign.evidence.drawing.training import draw

SMALL = {"model.backbone.base_channels": 4, "model.neck.in_channels": (8, 16, 32), "model.neck.out_channels": 8}
SMALL |= {"model.head.in_channels": 8, "model.head.feat_channels": 8, "model.head.norm_groups": 4}
SMALL |= {"input.scale": (64, 64), "model.head.stacked_convs": 1}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "shapes"
    make_dataset(folder, images=6, size=64)
    return resolve(folder)


def go(source, folder, scores, epochs=8, patience=2, **named):
    """Trains with APs of our choice."""
    values = iter(scores)
    config = compose(
        "fcos_tiny",
        "fcos",
        source,
        changes=SMALL,
        epochs=epochs,
        batch_size=4,
        patience=patience,
        ema=named.pop("ema", None),
    )
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(evaluation, "average_precision", lambda *_: {"AP": next(values), "AP50": 0.5})
        return train(config, folder, quiet=True, **named)


@pytest.fixture(scope="module")
def stopped(source, tmp_path_factory):
    """Best after the second of eight epochs, so it ends after the fourth."""
    folder = tmp_path_factory.mktemp("run") / "one"
    return folder, go(source, folder, (0.1, 0.3, 0.3, 0.2))


def test_a_run_ends_when_no_evaluation_was_better_for_so_long(stopped):
    folder, summary = stopped
    assert summary["ended"] == {"by": "patience", "epoch": 4}
    assert json.loads((folder / "summary.json").read_text())["ended"] == summary["ended"]
    assert (summary["best"]["epoch"], summary["metrics"]["AP"]) == (2, 0.2)
    said = "no better AP than after epoch 2 in 2 evaluations: the run ends after epoch 4 of 8"
    assert said in (folder / "train.log").read_text()


def test_what_was_waited_survives_a_stop(source, tmp_path, monkeypatch):
    usual = Runner.call_hook

    def call(runner, name, **named):
        if name == "before_train_epoch" and runner.epoch == 3:
            raise KeyboardInterrupt
        usual(runner, name, **named)

    monkeypatch.setattr(Runner, "call_hook", call)
    with pytest.raises(KeyboardInterrupt):
        go(source, tmp_path / "run", (0.1, 0.3, 0.3))
    monkeypatch.undo()
    assert go(source, tmp_path / "run", (0.2,), resume=True)["ended"] == {"by": "patience", "epoch": 4}


def test_a_run_that_ended_so_goes_on_with_more_patience_alone(stopped, source):
    folder, _ = stopped
    assert go(source, folder, (), resume=True)["ended"] == {"by": "patience", "epoch": 4}
    summary = go(source, folder, (0.1,), patience=3, resume=True)
    assert summary["ended"] == {"by": "patience", "epoch": 5}
    with pytest.warns(Note):  # the learning rate follows another curve
        assert go(source, folder, (0.1,), epochs=6, patience=None, resume=True)["ended"]["by"] == "schedule"


def test_the_averages_ap_counts_as_well(source, tmp_path):
    scores = (0.3, 0.1, 0.2, 0.4, 0.2, 0.1, 0.2, 0.2)  # of weights, of the average, …
    assert go(source, tmp_path / "run", scores, ema=0.9)["ended"] == {"by": "patience", "epoch": 4}


def test_scores_are_counted_from_the_first_of_the_highest():
    assert without_a_better_one([]) == 0
    assert without_a_better_one([-math.inf, -math.inf]) == 1
    assert without_a_better_one([0.1, 0.3, 0.2, 0.31]) == 0


def test_a_runs_picture_is_there_and_grows(stopped, source, tmp_path):
    assert imread(stopped[0] / "curves.png").shape == (400, 1000, 4)
    go(source, tmp_path / "run", (0.1, 0.2), epochs=1, patience=None)
    before = (tmp_path / "run" / "curves.png").read_bytes()
    with pytest.warns(Note):
        go(source, tmp_path / "run", (0.2,), epochs=2, patience=None, resume=True)
    assert (tmp_path / "run" / "curves.png").read_bytes() != before


def test_the_picture_shows_losses_and_ap_of_weights_and_average():
    epochs = [{"epoch": 1, "loss": 2.0, **{f"loss_{n}": 0.1 * n for n in range(12)}}, {"epoch": 2, "loss": 1.0}]
    evaluations = [{"epoch": 1, "AP": None, "AP50": math.nan}, {"epoch": 2, "AP": 0.25, "ema": {"AP": 0.5}}]
    left, right = draw(epochs, evaluations, "one").axes
    assert [line.get_label() for line in left.lines] == ["loss", *(f"loss_{n}" for n in range(11, 3, -1))]
    assert [line.get_label() for line in right.lines] == ["AP", "AP, averaged weights"]
    assert right.lines[0].get_ydata()[1] == 25.0
    assert [text.get_text() for text in draw([], []).axes[1].texts] == ["nothing measured"]

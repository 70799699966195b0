"""What a run says of itself, before, on the way and after."""

import json
import re
import socket
import subprocess
from types import SimpleNamespace

import pytest
import torch

from detassign.data import make_dataset, resolve
from detassign.engine.config import compose
from detassign.engine.hooks import read_metrics
from detassign.engine.precision import Precision
from detassign.engine.provenance import commit, provenance
from detassign.engine.telling import describe, duration
from detassign.engine.train import train


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "few"
    make_dataset(folder, images=8, size=64)
    return resolve(folder)


def go(source, folder, **named):
    changes = {"input.scale": (64, 64), "model.head.stacked_convs": 1}
    return train(compose("fcos_tiny", "dw", source, changes=changes, epochs=2, batch_size=2), folder, **named)


@pytest.fixture(scope="module")
def run(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "one"
    return folder, go(source, folder, quiet=True)


FIRST = (
    r"detassign: fcos_tiny-dw on few \(6 images to learn from, 2 to measure on\): 2 epochs, 6 steps of 2 images on cpu, "
    r"about \d+ (s|min) and the evaluations\n"
)


@pytest.mark.parametrize("quiet", [True, False])
def test_the_first_line_says_what_the_run_will_do(source, tmp_path, capsys, quiet):
    go(source, tmp_path / "run", quiet=quiet)
    said = capsys.readouterr().err
    assert len(re.findall(FIRST, said)) == 1
    if quiet:
        assert re.fullmatch(FIRST, said)


def test_a_finished_run_says_that_nothing_is_left(run, source, capsys):
    go(source, run[0], resume=True, quiet=True)
    assert capsys.readouterr().err.endswith("all 2 epochs are done, nothing is left to learn\n")


@pytest.mark.parametrize(("epochs", "words"), [(1, "its only epoch is done"), (3, "all 3 epochs are done")])
def test_epochs_that_are_done_are_counted(epochs, words):
    loader = SimpleNamespace(dataset=range(2))
    runner = SimpleNamespace(train_dataloader=loader, val_dataloader=loader, max_epochs=epochs)
    config = {"name": "fcos_tiny-dw-few", "data": {"name": "few"}, "schedule": {"epochs": epochs}}
    start = "fcos_tiny-dw on few (2 images to learn from, 2 to measure on)"
    assert describe(config, Precision(torch.float32), runner, 0, None) == f"{start}: {words}, nothing is left to learn"


def test_the_log_has_losses_and_ap_of_every_epoch(run):
    folder, summary = run
    log = (folder / "train.log").read_text()
    lines = [line for line in read_metrics(folder / "metrics.jsonl") if "loss" in line]
    for epoch in (1, 2):
        steps = [line for line in lines if line["epoch"] == epoch]
        for name in ("loss", "loss_cls_pos", "loss_cls_neg", "loss_box"):
            mean = sum(line[name] for line in steps) / len(steps)
            assert re.search(rf"epoch {epoch}/2: .*\b{name} {re.escape(f'{mean:.4g}')}\b", log)
        assert f"epoch {epoch}/2: AP {100 * summary['curve'][epoch - 1]['AP']:.1f}, AP50 " in log


def test_the_summary_says_where_its_numbers_come_from(run):
    summary = json.loads((run[0] / "summary.json").read_text())
    assert summary["versions"]["torch"] == torch.__version__
    assert summary["versions"]["detassign"]
    assert summary["host"] == socket.gethostname()
    assert re.search(r", \d+ threads$", summary["device"])
    assert summary["processes"] == 1


def test_a_commit_is_told_of_the_packages_own_repository_alone(tmp_path):
    """Installed into an environment inside somebody's repository it is not of their commit."""
    assert commit(tmp_path) is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    (tmp_path / "provenance.py").write_text("")
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    subprocess.run([*git, "commit", "-qm", "theirs", "--allow-empty"], check=True)
    assert commit(tmp_path) is None
    subprocess.run([*git, "add", "provenance.py"], check=True)
    subprocess.run([*git, "commit", "-qm", "ours"], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert commit(tmp_path) == head
    (tmp_path / "provenance.py").write_text("changed")
    assert commit(tmp_path) == f"{head}-dirty"


def test_without_git_no_commit_is_told(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert provenance(torch.device("cpu"))["commit"] is None


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "1 s"), (59.6, "60 s"), (119, "119 s"), (121, "2 min"), (7300, "2 h"), (200000, "2 days")]
)
def test_a_duration_has_a_unit_of_which_there_are_two(seconds, said):
    assert duration(seconds) == said

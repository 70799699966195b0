"""A run's checkpoints: the best is kept, the newest that can be read is gone on from, nothing comes from elsewhere."""

import json
import shutil

import pytest
import torch

from detassign.data import make_dataset, resolve
from detassign.engine import evaluation
from detassign.engine.checkpoints import choose, epochs, set_aside
from detassign.engine.config import compose
from detassign.engine.hooks import EpochSeed, read_metrics
from detassign.engine.notes import Note
from detassign.engine.train import evaluate, find_run, train

SCORES = {1: 0.2, 2: 0.5, 3: 0.3, 4: 0.4}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "shapes"
    make_dataset(folder, images=6, size=64)
    return resolve(folder)


def config_of(source, epochs=4, seed=0, **changes):
    small = {"model.backbone.base_channels": 4, "model.neck.in_channels": (8, 16, 32), "model.neck.out_channels": 8}
    small |= {"model.head.in_channels": 8, "model.head.feat_channels": 8, "model.head.stacked_convs": 1}
    changes = {"input.scale": (64, 64), "model.head.norm_groups": 4, **small, **changes}
    return compose("fcos_tiny", "fcos", source, changes=changes, epochs=epochs, batch_size=4, seed=seed)


class Interrupted(Exception):
    """Somebody stopped the run."""


@pytest.fixture
def go(source):
    """Trains with APs of our choice, up to the beginning of an epoch or the end; gives the summary."""

    def run(folder, before=None, seed=0, first=1, scores=SCORES, **named):
        values = iter([scores[epoch] for epoch in range(first, 9) if epoch in scores])
        seeding = EpochSeed.before_train_epoch

        def stop(hook, runner):
            if runner.epoch + 1 == before:
                raise Interrupted
            seeding(hook, runner)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(evaluation, "average_precision", lambda *_: {"AP": next(values), "AP50": 0.0})
            patched.setattr(EpochSeed, "before_train_epoch", stop)
            return train(config_of(source, seed=seed), folder, quiet=True, **named)

    return run


@pytest.fixture(scope="module")
def finished(source, tmp_path_factory):
    """Four epochs, of which the second is the best. Not to be changed."""
    folder, values = tmp_path_factory.mktemp("runs") / "run", iter(SCORES.values())
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(evaluation, "average_precision", lambda *_: {"AP": next(values), "AP50": 0.0})
        return folder, train(config_of(source), folder, quiet=True)


@pytest.fixture
def copied(finished, tmp_path):
    return shutil.copytree(finished[0], tmp_path / "copied")


def weights(path):
    return torch.load(path, weights_only=False)["state_dict"]


def same(one, other):
    return all(torch.equal(value, weights(other)[name]) for name, value in weights(one).items())


def epoch_of(path):
    return torch.load(path, weights_only=False)["meta"]["epoch"]


def cut(path):
    """As a full disk or a power cut leaves a file."""
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[: len(content) // 2])


def test_the_best_epoch_is_kept_and_named(finished):
    folder, summary = finished
    assert summary["best"] == {"epoch": 2, "AP": 0.5}
    assert json.loads((folder / "summary.json").read_text())["best"] == summary["best"]
    assert epoch_of(folder / "best.pth") == 2
    assert {path.name for path in folder.glob("*.pth*")} == {"best.pth", "epoch_3.pth", "epoch_4.pth"}
    assert summary["metrics"]["AP"] == 0.4


def test_without_a_score_nothing_is_the_best(go, tmp_path):
    summary = go(tmp_path / "run", scores=dict.fromkeys(SCORES, float("nan")))
    assert summary["best"] is None
    assert find_run(tmp_path / "run")[1] == tmp_path / "run" / "epoch_4.pth"


@pytest.mark.parametrize("stop", [2, 4])
def test_the_best_after_a_resume_is_the_uninterrupted_runs(finished, go, tmp_path, stop):
    with pytest.raises(Interrupted):
        go(tmp_path / "run", before=stop)
    summary = go(tmp_path / "run", first=stop, resume=True)
    assert summary["best"] == finished[1]["best"]
    assert same(tmp_path / "run" / "best.pth", finished[0] / "best.pth")
    assert summary["curve"] == [{**line, "train_seconds": s["train_seconds"]} for line, s in zip(
        finished[1]["curve"], summary["curve"], strict=True)]  # fmt: skip


def test_what_an_interruption_left_unmeasured_is_measured_first(finished, go, tmp_path):
    """The run was killed while it was measured: its line in the metrics and its claim to be the best are missing."""
    with pytest.raises(Interrupted):
        go(tmp_path / "run", before=3)
    metrics = tmp_path / "run" / "metrics.jsonl"
    lines = [line for line in metrics.read_text().splitlines() if '"AP"' not in line or '"epoch": 2' not in line]
    metrics.write_text("\n".join(lines) + "\n")
    shutil.copy(finished[0] / "epoch_3.pth", tmp_path / "run" / "best.pth.part")
    (tmp_path / "run" / "best.pth").unlink()
    (tmp_path / "run" / "epoch_1.pth").rename(tmp_path / "run" / "best.pth")
    summary = go(tmp_path / "run", first=2, resume=True)
    assert [line["AP"] for line in summary["curve"]] == [0.2, 0.5, 0.3, 0.4]
    assert summary["best"] == {"epoch": 2, "AP": 0.5}
    assert epoch_of(tmp_path / "run" / "best.pth") == 2


def test_a_finished_run_that_was_killed_while_measured_is_measured(go, tmp_path):
    go(tmp_path / "run")
    metrics = tmp_path / "run" / "metrics.jsonl"
    metrics.write_text("\n".join(metrics.read_text().splitlines()[:-1]) + "\n")
    assert go(tmp_path / "run", first=4, scores={4: 0.9}, resume=True)["best"] == {"epoch": 4, "AP": 0.9}
    assert epoch_of(tmp_path / "run" / "best.pth") == 4


def test_a_moved_run_goes_on_where_it_lies(go, finished, tmp_path):
    """Where it once lay another run lies now; what an older release wrote into last_checkpoint points there."""
    with pytest.raises(Interrupted):
        go(tmp_path / "first", before=3)
    (tmp_path / "first").rename(tmp_path / "moved")
    go(tmp_path / "first", seed=1)
    (tmp_path / "moved" / "last_checkpoint").write_text(str(tmp_path / "first" / "epoch_4.pth"))
    before = {path: path.read_bytes() for path in (tmp_path / "first").glob("*.pth")}
    go(tmp_path / "moved", first=3, resume=True)
    assert {path: path.read_bytes() for path in (tmp_path / "first").glob("*.pth")} == before
    assert same(tmp_path / "moved" / "epoch_4.pth", finished[0] / "epoch_4.pth")


@pytest.mark.parametrize("pointer", [None, "", ".", "epoch_1.pth", "../elsewhere.pth"])
def test_the_newest_checkpoint_is_found_whatever_a_pointer_says(copied, go, finished, pointer):
    (copied / "epoch_4.pth").unlink()
    kept = (copied / "epoch_3.pth").read_bytes()
    if pointer is not None:
        (copied / "last_checkpoint").write_text(pointer)
    go(copied, first=4, resume=True)
    assert (copied / "epoch_3.pth").read_bytes() == kept
    assert same(copied / "epoch_4.pth", finished[0] / "epoch_4.pth")
    steps = [line["step"] for line in read_metrics(copied / "metrics.jsonl") if "loss" in line]
    assert steps == [1, 2, 3, 4]


def test_a_damaged_newest_falls_back_and_is_kept(copied, go, finished):
    cut(copied / "epoch_4.pth")
    damaged = (copied / "epoch_4.pth").read_bytes()
    with pytest.warns(
        Note, match=r"epoch_4\.pth' cannot be read.*now called epoch_4\.pth\.unused.*epoch_3\.pth, epoch 3"
    ):
        summary = go(copied, first=4, resume=True)
    assert (copied / "epoch_4.pth.unused").read_bytes() == damaged
    assert same(copied / "epoch_4.pth", finished[0] / "epoch_4.pth")
    assert summary["best"] == finished[1]["best"]


def test_a_checkpoint_with_a_flipped_bit_is_damaged(copied, go, finished):
    """torch reads it without a word."""
    content = bytearray((copied / "epoch_4.pth").read_bytes())
    content[len(content) // 2] ^= 1
    (copied / "epoch_4.pth").unlink()
    (copied / "epoch_4.pth").write_bytes(content)
    torch.load(copied / "epoch_4.pth", weights_only=False)
    with pytest.warns(Note, match=r"epoch_4\.pth' is damaged: .* is not what was written"):
        go(copied, first=4, resume=True)
    assert same(copied / "epoch_4.pth", finished[0] / "epoch_4.pth")


def test_the_best_is_gone_on_from_where_it_is_the_newest_that_can_be_read(copied, go, finished):
    cut(copied / "epoch_4.pth")
    cut(copied / "epoch_3.pth")
    with pytest.warns(Note) as notes:
        summary = go(copied, first=3, resume=True)
    assert sum("best.pth, epoch 2" in str(note.message) for note in notes) == 2
    assert same(copied / "epoch_4.pth", finished[0] / "epoch_4.pth")
    assert summary["best"] == finished[1]["best"]
    assert epoch_of(copied / "best.pth") == 2


def test_a_damaged_best_is_kept_aside_and_said_to_be_gone(copied, go):
    cut(copied / "best.pth")
    with pytest.warns(Note) as notes:
        summary = go(copied, resume=True)
    said = " ".join(str(note.message) for note in notes)
    assert "best.pth.unused" in said
    assert "the best checkpoint so far, of epoch 2, is gone" in said
    assert (copied / "best.pth.unused").exists()
    assert summary["best"] == {"epoch": 4, "AP": 0.4}
    assert epoch_of(copied / "best.pth") == 4


@pytest.mark.parametrize(
    "foreign", ["another seed", "another model", "weights alone", "an earlier epoch", "not a number"]
)
def test_what_is_not_this_runs_newest_is_not_gone_on_from(copied, go, finished, source, tmp_path, foreign):
    newest = copied / "epoch_4.pth"
    content = torch.load(newest, weights_only=False)
    if foreign == "another seed":
        content["run"]["config"]["seed"] = 7
    if foreign == "another model":
        del content["run"]
        content["state_dict"]["bbox_head.conv_cls.weight"] = torch.zeros(9, 64, 3, 3)
    if foreign == "weights alone":
        content = {"state_dict": content["state_dict"]}
    if foreign == "an earlier epoch":
        content = torch.load(copied / "epoch_3.pth", weights_only=False)
    if foreign == "not a number":
        content["state_dict"]["backbone.conv1.weight"][0] = float("nan")
    newest.unlink()
    torch.save(content, newest)
    said = {
        "another seed": r"is of another run \(seed is 7 in it and 0 in config\.json\)",
        "another model": "a checkpoint of another model",
        "weights alone": "weights alone, from which training cannot go on",
        "an earlier epoch": "is the checkpoint of epoch 3, whatever its name says",
        "not a number": r"1 tensors hold NaN or infinity, such as backbone\.conv1\.weight",
    }
    with pytest.warns(Note, match=said[foreign]):
        go(copied, first=4, resume=True)
    assert same(newest, finished[0] / "epoch_4.pth")
    assert (copied / "epoch_4.pth.unused").exists()


def test_without_a_checkpoint_that_can_be_read_nothing_is_touched(copied, go):
    for path in copied.glob("*.pth"):
        cut(path)
    before = {path: path.read_bytes() for path in copied.iterdir()}
    with pytest.raises(ValueError, match=r"no checkpoint of the run can be used: .*epoch_4\.pth.*epoch_3\.pth"):
        go(copied, resume=True)
    assert {path: path.read_bytes() for path in copied.iterdir()} == before


def test_a_run_whose_checkpoints_are_gone_is_not_begun_anew(copied, go):
    for path in copied.glob("*.pth"):
        path.unlink()
    before = (copied / "metrics.jsonl").read_bytes()
    with pytest.raises(ValueError, match="has 4 epochs behind it and no checkpoint"):
        go(copied, resume=True)
    assert (copied / "metrics.jsonl").read_bytes() == before


def test_a_run_stopped_in_its_first_epoch_begins_anew(go, finished, tmp_path):
    with pytest.raises(Interrupted):
        go(tmp_path / "run", before=1)
    go(tmp_path / "run", resume=True)
    assert same(tmp_path / "run" / "epoch_4.pth", finished[0] / "epoch_4.pth")


def test_a_best_that_the_run_did_not_keep_is_not_written_over(copied, go):
    """Somebody has put another epoch there by hand."""
    (copied / "best.pth").unlink()
    shutil.copy(copied / "epoch_3.pth", copied / "best.pth")
    mine = (copied / "best.pth").read_bytes()
    with pytest.warns(Note) as notes:
        go(copied, resume=True)
    assert "best.pth is none that this run has kept; it is now called best.pth.unused" in str(notes[0].message)
    assert (copied / "best.pth.unused").read_bytes() == mine


def test_the_best_is_used_unless_another_is_asked_for(finished):
    folder = finished[0]
    assert find_run(folder)[1] == choose(folder).path == folder / "best.pth"
    assert choose(folder).epoch == 2
    assert choose(folder, "last").path == folder / "epoch_4.pth"
    assert choose(folder, "epoch_3.pth").path == choose(folder, folder / "epoch_3.pth").path == folder / "epoch_3.pth"
    with pytest.raises(FileNotFoundError, match=r"checkpoint 'epoch_9\.pth' does not exist, nor does .*epoch_9\.pth"):
        choose(folder, "epoch_9.pth")
    with pytest.raises(ValueError, match=r"is a folder; expected a file, such as .*best\.pth"):
        choose(folder, folder)


def test_a_run_without_a_best_gives_its_newest(copied):
    (copied / "best.pth").unlink()
    assert choose(copied).path == copied / "epoch_4.pth"
    with pytest.raises(FileNotFoundError, match=r"holds no best\.pth"):
        choose(copied, "best")


def test_a_damaged_checkpoint_is_not_measured(copied):
    cut(copied / "best.pth")
    with pytest.warns(Note, match=r"best\.pth' cannot be read.*epoch_4\.pth, epoch 4 is taken instead"):
        assert find_run(copied)[1] == copied / "epoch_4.pth"


def test_the_best_scores_what_the_run_said(source, tmp_path):
    summary = train(config_of(source, epochs=2), tmp_path / "run", quiet=True)
    assert summary["best"]["AP"] == max(line["AP"] for line in summary["curve"])
    assert evaluate(*find_run(tmp_path / "run"))["AP"] == pytest.approx(summary["best"]["AP"], abs=1e-9)


def test_epochs_are_counted_and_not_spelt(tmp_path):
    for name in ("epoch_9.pth", "epoch_10.pth", "epoch_010.pth", "epoch_3.pth.part", "epoch_x.pth", "epoch_0.pth"):
        (tmp_path / name).touch()
    assert [path.name for path in epochs(tmp_path)] == ["epoch_10.pth", "epoch_9.pth"]


def test_a_file_is_set_aside_where_nothing_lies(tmp_path):
    for number in range(3):
        (tmp_path / "a.pth").write_text(str(number))
        set_aside(tmp_path / "a.pth")
    names = ("a.pth.unused", "a.pth.unused-2", "a.pth.unused-3")
    assert [(tmp_path / name).read_text() for name in names] == ["0", "1", "2"]

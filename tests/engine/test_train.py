"""Training runs: what they leave behind, resuming, refusals; and one that must learn."""

import json

import pytest
import torch

from detassign.data import SceneStyle, make_dataset, resolve
from detassign.engine import train as module
from detassign.engine.build import build_model
from detassign.engine.config import change, compose
from detassign.engine.datasets import eval_loader
from detassign.engine.hooks import read_metrics
from detassign.engine.optimization import parameter_groups
from detassign.engine.telling import resolved_assigners
from detassign.engine.train import evaluate, find_run, rehearse, train


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "shapes"
    make_dataset(folder, images=12, size=64)
    return resolve(folder)


def small_config(source, assigner="dw", **changes):
    changes = {"input.scale": (64, 64), "model.head.stacked_convs": 1, **changes}
    return compose("fcos_tiny", assigner, source, changes=changes, epochs=2, batch_size=4)


@pytest.fixture(scope="module")
def run(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "one"
    return folder, train(small_config(source), folder, quiet=True)


def test_a_run_leaves_config_checkpoint_metrics_log_and_summary(run):
    folder, summary = run
    names = {path.name for path in folder.iterdir()}
    checkpoints = {"best.pth", "epoch_1.pth", "epoch_2.pth"}
    written = {"config.json", "assigner.txt", "metrics.jsonl", "curves.png", "train.log", "summary.json"}
    assert names == written | checkpoints
    assert json.loads((folder / "summary.json").read_text()) == json.loads(json.dumps(summary))


def test_a_run_keeps_its_assigner_with_every_constant(run, source):
    text = (run[0] / "assigner.txt").read_text()
    assert text == f"{build_model(small_config(source)).bbox_head.assigner}\n"
    assert "mu_weight=5.0" in text


def test_extras_are_told_below_the_assigner(source):
    model = build_model(
        compose("dino_r18_tiny", None, source, extra=["groups(k=3)", "path(assigner=atss, weight=0.5)"])
    )
    first, *others = resolved_assigners(model).split("\ngroups: ")
    assert first == str(model.bbox_head.assigner)
    assert others[0].startswith(
        "Groups(k=3, average=True, assigner=None)\npath: Path(\n  assigner=Assigner(\n    matching=ATSS("
    )
    assert others[0].endswith("\n  weight=0.5,\n)")


def test_the_metrics_file_has_a_line_per_step_and_per_evaluation(run):
    lines = read_metrics(run[0] / "metrics.jsonl")
    steps = [line for line in lines if "loss" in line]
    assert [line["step"] for line in steps] == [1, 2, 3, 4]
    assert {"loss_cls_pos", "loss_cls_neg", "loss_box", "norm_neg", "lr", "seconds", "epoch"} <= set(steps[0])
    assert [line["epoch"] for line in lines if "AP" in line] == [1, 2]


def test_the_summary_counts_positives_and_time(run):
    summary = run[1]
    assert summary["positives_per_target"] > summary["effective_positives_per_target"] > 1
    assert 0 <= summary["targets_without_positive"] < 1
    assert 0 < summary["assignment_share"] < 1
    assert summary["peak_memory_bytes"] > 1e6


def test_the_checkpoint_scores_what_the_run_said(run):
    config, checkpoint = find_run(run[0])
    metrics = evaluate(config, checkpoint)
    assert metrics["AP50"] == pytest.approx(run[1]["metrics"]["AP50"] or 0.0, abs=1e-9)


def test_a_folder_with_a_run_is_not_written_to_without_resume(run, source):
    with pytest.raises(ValueError, match="holds a run already"):
        train(small_config(source), run[0], quiet=True)


def test_resuming_under_another_config_is_refused(run, source):
    with pytest.raises(ValueError, match=r"another config: model\.head\.assigner\.type is 'dw' there and 'fcos' here"):
        train(small_config(source, "fcos"), run[0], resume=True, quiet=True)


def test_a_folder_with_other_files_is_refused(source, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(FileExistsError, match="holds files already, such as 'thesis"):
        train(small_config(source), tmp_path, quiet=True)


def stop_and_resume(config, folder, monkeypatch):
    """A run that stops after its first epoch and goes on."""
    from detassign.engine import hooks

    def stop(hook, runner):
        if runner.epoch == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(hooks.EpochSeed, "before_train_epoch", _first_then(stop))
        with pytest.raises(KeyboardInterrupt):
            train(config, folder, quiet=True)
    train(config, folder, resume=True, quiet=True)


def check_same_course(one, other):
    """The same losses at every step, and the same weights and state at the end."""
    losses = [
        [line["loss"] for line in read_metrics(folder / "metrics.jsonl") if "loss" in line] for folder in (one, other)
    ]
    assert losses[0] == losses[1]
    whole, resumed = (torch.load(folder / "epoch_2.pth", weights_only=False)["state_dict"] for folder in (one, other))
    for name, value in whole.items():
        torch.testing.assert_close(value, resumed[name], rtol=0, atol=0)


def test_resumed_equals_uninterrupted(run, source, tmp_path, monkeypatch):
    """Stop after the first epoch, go on, and compare losses and weights with the run that was not stopped."""
    stop_and_resume(small_config(source), tmp_path / "two", monkeypatch)
    check_same_course(run[0], tmp_path / "two")
    counts = ("positives_per_target", "effective_positives_per_target", "targets_without_positive", "steps")
    first, again = (json.loads((f / "summary.json").read_text()) for f in (run[0], tmp_path / "two"))
    assert {name: again[name] for name in counts} == {name: first[name] for name in counts}


@pytest.mark.parametrize("assigner", ["tood(aligned_from=0.6)", "ddod"])
def test_what_an_assigner_remembers_of_a_training_survives_a_stop(assigner, source, tmp_path, monkeypatch):
    """TOOD's phase, which changes in the second epoch, and DDOD's counts of positives."""
    config = small_config(source, assigner)
    train(config, tmp_path / "one", quiet=True)
    stop_and_resume(config, tmp_path / "two", monkeypatch)
    check_same_course(tmp_path / "one", tmp_path / "two")
    state = torch.load(tmp_path / "one" / "epoch_2.pth", weights_only=False)["state_dict"]
    remembered = [value for name, value in state.items() if name.endswith(("_extra_state", ".totals"))]
    assert remembered
    assert all(value.sum() > 0 for value in remembered)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("precision", "float16", "float16 trains on a GPU alone"),
        ("schedule.decay.type", "linear", "expected step or cosine, got 'linear'"),
        ("schedule.optimizer.foo", 3, "unexpected keyword argument 'foo'"),
        ("schedule.optimizer", {"type": "LBFGS", "lr": 1.0}, "LBFGS computes the loss itself"),
        ("schedule.optimizer.betas", 3, "schedule.optimizer: AdamW refuses its arguments"),
    ],
)
def test_what_is_refused_leaves_no_folder(source, tmp_path, key, value, said):
    """So that the same command without the mistake can have the folder."""
    config = small_config(source)
    change(config, key, value)
    with pytest.raises(ValueError, match=said):
        train(config, tmp_path / "refused", quiet=True)
    assert not (tmp_path / "refused").exists()


def test_evaluation_takes_as_many_images_at_once_as_asked_for(source, run, monkeypatch):
    """A dilated last stage is evaluated alone; otherwise as many as in training."""
    config, checkpoint = find_run(run[0])
    sizes = []
    monkeypatch.setattr(module, "eval_loader", lambda *a: sizes.append(a[2]) or eval_loader(*a))
    for wanted in (None, 1):
        config["evaluation"]["batch_size"] = wanted
        evaluate(config, checkpoint)
    assert sizes == [4, 1]
    assert compose("detr_r50_dc5", None, source)["evaluation"]["batch_size"] == 1
    assert compose("detr_r50", None, source)["evaluation"]["batch_size"] is None


def _first_then(stop):
    from detassign.engine.hooks import EpochSeed

    seed = EpochSeed.before_train_epoch

    def before_train_epoch(hook, runner):
        stop(hook, runner)
        seed(hook, runner)

    return before_train_epoch


def test_a_rehearsal_leaves_nothing_and_meets_what_a_run_would(source, tmp_path, monkeypatch):
    """Training and evaluation, in that order; nothing is written."""
    from detassign.engine.build import DenseDetector

    monkeypatch.chdir(tmp_path)
    seen = []
    for name in ("train_step", "test_step"):
        whole = getattr(DenseDetector, name)
        monkeypatch.setattr(DenseDetector, name, lambda *a, whole=whole, name=name: (seen.append(name), whole(*a))[1])
    rehearse(small_config(source))
    assert seen == ["train_step", "test_step"]
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match=r"loss.* is (nan|inf) at the first step"):
        rehearse(small_config(source, **{"model.preprocessor.std": [1e-40, 1e-40, 1e-40]}))


def test_a_rehearsal_warns_of_parts_that_would_never_learn(source):
    with pytest.warns(UserWarning, match="starts from random numbers and is frozen in part"):
        rehearse(small_config(source, **{"model.backbone.frozen_stages": 1}))


def test_a_loss_that_is_not_a_number_stops_the_run_with_advice(source, tmp_path):
    with pytest.raises(ValueError, match=r"became (nan|inf) at step .* lower learning rate"):
        train(
            small_config(source, **{"schedule.optimizer.lr": 1e12, "schedule.clip": None}), tmp_path / "r", quiet=True
        )
    texts = (tmp_path / "r" / "metrics.jsonl").read_text().splitlines()
    last = [json.loads(text, parse_constant=pytest.fail) for text in texts][-1]  # JSON has no word for NaN
    assert None in last.values()


@pytest.mark.parametrize("device", ["cuda:0", "gpu"])
def test_a_device_that_is_not_there_is_refused(source, tmp_path, device):
    if torch.cuda.is_available() and device == "cuda:0":
        pytest.skip("this machine has a GPU")
    with pytest.raises(ValueError, match="device:"):
        train({**small_config(source), "device": device}, tmp_path / "r", quiet=True)


def test_a_detector_learns_from_generated_data(tmp_path):
    """Scored before and after: random weights find nothing, a few hundred steps find a good part of what is there."""
    style = SceneStyle(distractors=0.0, crowd_share=0.0, typical_side=0.4, smallest_side=20, least_contrast=0.4)
    make_dataset(tmp_path / "data", images=160, size=96, style=style)
    source = resolve(tmp_path / "data")
    changes = {"input.scale": (96, 96), "evaluation.every": 24, "schedule.optimizer.lr": 3e-3}
    config = compose("fcos_tiny", "dw", source, changes=changes, epochs=24, batch_size=8)
    torch.manual_seed(0)
    torch.save(build_model(config).state_dict(), tmp_path / "untrained.pth")
    untrained = evaluate(config, tmp_path / "untrained.pth")["AP50"]
    trained = train(config, tmp_path / "run", quiet=True)["metrics"]["AP50"]
    assert untrained < 0.02
    assert trained > 0.12


def test_parameters_that_share_rate_and_decay_share_a_group(source):
    config = small_config(source, **{"schedule.backbone_lr_mult": 0.1, "schedule.bias.lr_mult": 2.0})
    model = build_model(config)
    groups = parameter_groups(model, config["schedule"], lr=1.0, weight_decay=0.05)
    assert sum(len(group["params"]) for group in groups) == sum(p.requires_grad for p in model.parameters())
    found = {id(p): (g["lr"], g["weight_decay"]) for g in groups for p in g["params"]}
    assert found[id(model.backbone.conv1.weight)] == (0.1, 0.05)
    assert found[id(model.backbone.bn1.bias)] == (0.1, 0.0)
    assert found[id(model.bbox_head.conv_cls.weight)] == (1.0, 0.05)
    assert found[id(model.bbox_head.conv_cls.bias)] == (2.0, 0.0)
    assert found[id(model.bbox_head.cls_convs[0].gn.weight)] == (1.0, 0.0)

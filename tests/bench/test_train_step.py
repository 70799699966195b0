"""The benchmark of training steps: its sides, batch and bookkeeping on small models; no times."""

import json
from dataclasses import replace

import pytest
import torch

from detassign.bench import train_step
from detassign.bench.train_step import Conditions, Contender, Row
from detassign.cli import main
from detassign.configs.detectors import query_parts as parts
from detassign.configs.detectors.backbones import resnet
from detassign.ops import ms_deform_attn, ms_deform_attn_reference

CONDITIONS = Conditions(size=(64, 96), batch=2, objects=3, steps=1)
ROW = Row("detr", "mmdet", 1.0, 2.0, 1.5, 2.0, 3 << 20, 4 << 20, 0.05, 2, 183)


@pytest.fixture(scope="module")
def small():
    """DINO with one layer on a thin ResNet-18."""
    size = parts.Size(channels=32, heads=4, hidden=32, encoder_layers=1, decoder_layers=2, queries=10, norm_groups=4)
    backbone, _ = resnet(18, maps=3)
    backbone["base_channels"] = 8
    return train_step.ours(parts.dino(backbone, (16, 32, 64), size), CONDITIONS)


def test_a_step_trains_all_but_the_frozen_stages(small):
    """The optimizer has met every parameter that may learn, and the first stage is none of them."""
    small.step(train_step.make_batch(CONDITIONS))
    learning = {name: p for name, p in small.model.named_parameters() if p.requires_grad}
    assert any("backbone.layer2" in name for name in learning)
    assert not any("backbone.layer1" in name for name in learning)
    assert set(small.optimizer.optimizer.state) == set(learning.values())


def test_supervision_is_measured_without_touching_gradients(small):
    """Matching, losses and denoising are timed on detached predictions."""
    small.optimizer.zero_grad()
    assert train_step.supervision_seconds(small.model, train_step.make_batch(CONDITIONS), 1) > 0
    assert all(parameter.grad is None for parameter in small.model.parameters())


def test_a_batch_has_the_objects_asked_for_inside_its_images():
    """Equal conditions give equal batches."""
    batch, again = (train_step.make_batch(CONDITIONS) for _ in range(2))
    assert [tuple(image.shape) for image in batch["inputs"]] == [(3, 64, 96)] * 2
    assert torch.equal(batch["inputs"][1], again["inputs"][1])
    for sample in batch["data_samples"]:
        boxes = sample.gt_instances.bboxes
        assert boxes.shape == (3, 4)
        assert (boxes[:, 2:] > boxes[:, :2]).all()
        assert (boxes.amax(0) <= torch.tensor([96, 64, 96, 64])).all()


@pytest.mark.parametrize("name", list(train_step.families()))
def test_both_sides_of_a_family_are_of_one_size(name):
    """Parameters that learn differ in number by less than a hundredth, from the published configs."""
    family = train_step.families()[name]
    counts = []
    for side in (train_step.OURS, train_step.PEER):
        model = train_step.contender(family, side, CONDITIONS).model
        counts.append(sum(p.numel() for p in model.parameters() if p.requires_grad))
    assert counts[0] == pytest.approx(counts[1], rel=0.01)


def test_the_harder_peer_runs_on_our_kernel_and_gives_it_back():
    """mmcv's plain attention is replaced inside the block alone, with one that answers the same."""
    plain = train_step.mmcv_attention.multi_scale_deformable_attn_pytorch
    with train_step.mmcv_attention_of(train_step.attention_as_mmcv):
        assert train_step.mmcv_attention.multi_scale_deformable_attn_pytorch is train_step.attention_as_mmcv
    assert train_step.mmcv_attention.multi_scale_deformable_attn_pytorch is plain
    value, shapes = torch.randn(1, 10, 2, 4), torch.tensor([[2, 3], [2, 2]])
    locations, weights = torch.rand(1, 5, 2, 2, 3, 2), torch.rand(1, 5, 2, 2, 3)
    found = train_step.attention_as_mmcv(value, shapes, locations, weights)
    for op in (ms_deform_attn, ms_deform_attn_reference):
        torch.testing.assert_close(found, op(value, shapes, torch.tensor([0, 6]), locations, weights))
    torch.testing.assert_close(found, plain(value, shapes, locations, weights))


def test_sides_take_turns_and_the_first_turns_are_not_counted():
    """All runs meet the same machine."""
    calls = []
    times = train_step.take_turns({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 3)
    assert calls == ["a", "b"] * (3 + train_step.WARM_UP)
    assert all(len(clocks) == 2 for clocks in times.values())


def test_a_row_says_its_ratios():
    """Ours as a share of the peer's."""
    found = ROW.to_dict()
    assert (found["ratio"], found["cpu_ratio"], found["memory_ratio"]) == (0.5, 0.75, 0.75)
    assert found["supervision_share"] == 0.05
    assert replace(ROW, peer_seconds=4.0).ratio == 0.25


def test_a_contender_steps_its_own_model():
    """The attention is in place while the model trains."""
    seen = []

    class Model(torch.nn.Linear):
        def train_step(self, batch, optimizer):
            seen.append((train_step.mmcv_attention.multi_scale_deformable_attn_pytorch, optimizer))

    Contender(Model(1, 1), "optimizer", len).step({})
    assert seen == [(len, "optimizer")]


def test_a_step_waits_for_a_gpu_a_twentieth_as_often_as_mmdets():
    """Counted on a stand-in: matching and clipping, and for DINO the number of denoising pairs."""
    batch = train_step.make_batch(CONDITIONS)
    ours, peer = (
        train_step.contender(train_step.families()["detr"], side, CONDITIONS) for side in ("detassign", "mmdet")
    )
    assert train_step.waits_on_stand_in(ours, batch) == 2
    assert train_step.waits_on_stand_in(peer, batch) >= 40


def test_a_step_of_dino_waits_three_times(small):
    """Runs last on this detector, which stays on the stand-in."""
    assert train_step.waits_on_stand_in(small, train_step.make_batch(CONDITIONS)) == 3


def test_the_command_prints_ratios_and_writes_json(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(train_step, "measure", lambda names, conditions: iter([ROW]))
    threads = str(torch.get_num_threads())
    with pytest.raises(SystemExit) as stopped:
        main(["bench", "train-step", "--families", "detr", "--threads", threads, "--out", str(tmp_path / "steps.json")])
    assert stopped.value.code == 0
    shown = capsys.readouterr().out
    assert "0.50" in shown
    assert "2 : 183" in shown
    written = json.loads((tmp_path / "steps.json").read_text())
    assert written["conditions"]["size"] == [320, 416]
    assert written["rows"][0]["ratio"] == 0.5


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--families", "dinno"], "families: expected some of dino"),
        (["--size", "320"], "HEIGHTxWIDTH"),
        (["--precision", "float16"], "'float16' is not one of 'float32', 'bfloat16'"),
    ],
)
def test_a_mistake_is_one_sentence(capsys, arguments, sentence):
    with pytest.raises(SystemExit) as stopped:
        main(["bench", "train-step", "--threads", str(torch.get_num_threads()), *arguments])
    assert stopped.value.code != 0
    assert sentence in capsys.readouterr().err


def test_help_says_what_is_measured(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["bench", "train-step", "--help"])
    assert stopped.value.code == 0
    assert "deformable attention in plain torch" in " ".join(capsys.readouterr().out.split())

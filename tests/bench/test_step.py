"""The benchmark of training steps: its sides, batch and bookkeeping on small models; no times."""

import json
import sys
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import partial
from importlib import import_module
from types import SimpleNamespace

import pytest
import torch
from torch.autograd import DeviceType

from detassign.bench.step import families as whole
from detassign.bench.step import measures, mmdet_peers, rows
from detassign.bench.step.conditions import Conditions, make_batch
from detassign.bench.step.contender import Contender, ours
from detassign.bench.step.families import MMDET, OURS, TRANSFORMERS, families, make_side
from detassign.bench.step.operators import OperatorTime, operator_times, times_of
from detassign.bench.step.rows import Row
from detassign.cli import main
from detassign.configs.detectors import query_parts as parts
from detassign.configs.detectors.backbones import resnet
from detassign.ops import ms_deform_attn, ms_deform_attn_reference

CONDITIONS = Conditions(size=(64, 96), batch=2, objects=3, steps=1)
ROW = Row("detr", "mmdet", 1.0, 2.0, 1.5, 2.0, 3 << 20, 4 << 20, 0.05, 2, 183)


@pytest.fixture(scope="module")
def small():
    return small_dino()


def small_dino():
    """DINO with one layer on a thin ResNet-18."""
    size = parts.Size(channels=32, heads=4, hidden=32, encoder_layers=1, decoder_layers=2, queries=10, norm_groups=4)
    backbone, _ = resnet(18, maps=3)
    backbone["base_channels"] = 8
    return ours(parts.dino(backbone, (16, 32, 64), size), CONDITIONS)


def test_a_step_trains_all_but_the_frozen_stages(small):
    """The optimizer has met every parameter that may learn, and the first stage is none of them."""
    small.step(make_batch(CONDITIONS))
    learning = {name: p for name, p in small.model.named_parameters() if p.requires_grad}
    assert any("backbone.layer2" in name for name in learning)
    assert not any("backbone.layer1" in name for name in learning)
    assert set(small.optimizer.optimizer.state) == set(learning.values())


def test_supervision_is_measured_without_touching_gradients(small):
    """Matching, losses and denoising are timed on detached predictions."""
    small.optimizer.zero_grad()
    assert measures.supervision_seconds(small.model, make_batch(CONDITIONS), 1) > 0
    assert all(parameter.grad is None for parameter in small.model.parameters())


def test_a_batch_has_the_objects_asked_for_inside_its_images():
    """Equal conditions give equal batches."""
    batch, again = (make_batch(CONDITIONS) for _ in range(2))
    assert [tuple(image.shape) for image in batch["inputs"]] == [(3, 64, 96)] * 2
    assert torch.equal(batch["inputs"][1], again["inputs"][1])
    for sample in batch["data_samples"]:
        boxes = sample.gt_instances.bboxes
        assert boxes.shape == (3, 4)
        assert (boxes[:, 2:] > boxes[:, :2]).all()
        assert (boxes.amax(0) <= torch.tensor([96, 64, 96, 64])).all()


SIDES = [(name, side) for name, family in families().items() for side in (*family.peers, OURS)]


@pytest.mark.parametrize(("name", "peer"), [pair for pair in SIDES if pair[1] != OURS], ids="-".join)
def test_all_sides_of_a_family_are_of_one_size(name, peer):
    """Parameters that learn differ by a few biases in number, so the same layers are trained, norms or none of them."""
    if peer in families()[name].missing():
        pytest.skip(f"{peer} is not installed")
    counts = []
    for side in (OURS, peer):
        model = make_side(name, side, CONDITIONS).model
        counts.append(sum(p.numel() for p in model.parameters() if p.requires_grad))
    assert counts[0] == pytest.approx(counts[1], rel=1e-4)


def test_the_harder_peer_runs_on_our_kernel_and_gives_it_back():
    """mmcv's plain attention is replaced inside the block alone, with one that answers the same."""
    plain = mmdet_peers.mmcv_attention.multi_scale_deformable_attn_pytorch
    with mmdet_peers.mmcv_attention_of(mmdet_peers.attention_as_mmcv):
        assert mmdet_peers.mmcv_attention.multi_scale_deformable_attn_pytorch is mmdet_peers.attention_as_mmcv
    assert mmdet_peers.mmcv_attention.multi_scale_deformable_attn_pytorch is plain
    value, shapes = torch.randn(1, 10, 2, 4), torch.tensor([[2, 3], [2, 2]])
    locations, weights = torch.rand(1, 5, 2, 2, 3, 2), torch.rand(1, 5, 2, 2, 3)
    found = mmdet_peers.attention_as_mmcv(value, shapes, locations, weights)
    for op in (ms_deform_attn, ms_deform_attn_reference):
        torch.testing.assert_close(found, op(value, shapes, torch.tensor([0, 6]), locations, weights))
    torch.testing.assert_close(found, plain(value, shapes, locations, weights))


def test_sides_take_turns_and_the_first_turns_are_not_counted():
    """All runs meet the same machine."""
    calls = []
    times = measures.take_turns({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 3)
    assert calls == ["a", "b"] * (3 + measures.WARM_UP)
    assert all(len(clocks) == 2 for clocks in times.values())


LATE = ("late_with_the_model", "late_with_the_step")


class LateStep(torch.nn.Linear):
    """Its first step imports a package, as its maker did; it tells the size of the images that it meets."""

    def train_step(self, batch, optimizer):
        import_module(LATE[1])
        optimizer.append(tuple(batch["inputs"][0].shape[1:]))


def test_what_a_side_imports_is_there_before_its_memory_is_read(tmp_path, monkeypatch):
    """By its maker and by its first step; what is measured comes after the reading, in the size asked for."""
    told = []
    for name in LATE:
        (tmp_path / f"{name}.py").touch()
    monkeypatch.syspath_prepend(tmp_path)

    def make(conditions):
        import_module(LATE[0])
        return Contender(LateStep(1, 1), told)

    def read():
        assert all(name in sys.modules for name in LATE)
        told.append("read")
        return 100

    monkeypatch.setattr(measures, "start_over", read)
    monkeypatch.setattr(measures, "peak_memory_bytes", lambda: 300)
    height, width = measures.SMALL
    assert sum(height * width // stride**2 for stride in (8, 16, 32, 64)) > 900  # DINO's proposals
    assert measures._growth(make, replace(CONDITIONS, size=(128, 160)), torch.get_num_threads()) == 200
    assert told == [measures.SMALL] * 2 + ["read"] + [(128, 160)] * 2
    for name in LATE:
        del sys.modules[name]


def test_a_row_says_its_ratios():
    """Ours as a share of the peer's."""
    found = ROW.to_dict()
    assert (found["ratio"], found["cpu_ratio"], found["memory_ratio"]) == (0.5, 0.75, 0.75)
    assert found["supervision_share"] == 0.05
    assert replace(ROW, peer_seconds=4.0).ratio == 0.25


def test_a_peer_in_two_precisions_stands_there_twice():
    """Each side trains in its own, ours in that of the measurement."""
    seen = {}

    def make(conditions, name):
        seen[name] = (*seen.get(name, ()), conditions.precision)

    family = replace(families()["detr"], peers={MMDET: partial(make, name=MMDET)})
    sides = family.sides(("float32", "bfloat16"))
    assert list(sides) == [OURS, "mmdet in float32", "mmdet in bfloat16"]
    for side in list(sides)[1:]:
        sides[side](replace(CONDITIONS, precision="bfloat16"))
    assert seen == {MMDET: ("float32", "bfloat16")}


def test_a_peer_that_cannot_be_trained_is_named_and_left_out(monkeypatch):
    """One that fails ends no measurement; ours, failing, does."""
    failing = {MMDET}

    def growth(make, conditions):
        if make.args[1] in failing:
            raise RuntimeError("no such\n dtype")
        return 1

    def killed(make, conditions):
        if make.args[1] != OURS:
            raise BrokenProcessPool
        return 1

    monkeypatch.setattr(rows, "peak_growth", growth)
    told = []
    assert list(rows.measure(["atss"], CONDITIONS, told.append)) == []
    assert told == ["atss beside mmdet is left out, for it cannot be trained so: no such dtype"]
    monkeypatch.setattr(rows, "peak_growth", killed)
    with pytest.raises(BrokenProcessPool):  # for memory, mostly: nobody's fault
        list(rows.measure(["atss"], CONDITIONS, told.append))
    monkeypatch.setattr(rows, "peak_growth", growth)
    failing.add(OURS)
    with pytest.raises(RuntimeError, match="no such"):
        list(rows.measure(["atss"], CONDITIONS, told.append))


@pytest.mark.parametrize("other", [["--schemes", "group"], ["--telemetry", "fcos_tiny"], ["--operators", "dino"]])
def test_a_precision_of_peers_where_there_are_none_is_a_sentence(other, capsys):
    with pytest.raises(SystemExit):
        main(["bench", "train-step", "--peer-precision", "float32", *other])
    assert "--schemes, --telemetry and --operators measure none" in capsys.readouterr().err


def test_an_unknown_precision_of_peers_is_a_sentence(capsys):
    with pytest.raises(SystemExit):
        main(["bench", "train-step", "--peer-precision", "int8"])
    assert "expected some of float32, bfloat16, got 'int8'" in capsys.readouterr().err


def test_a_contender_steps_its_own_model():
    """The attention is in place while the model trains."""
    seen = []

    class Model(torch.nn.Linear):
        def train_step(self, batch, optimizer):
            seen.append((mmdet_peers.mmcv_attention.multi_scale_deformable_attn_pytorch, optimizer))

    Contender(Model(1, 1), "optimizer", partial(mmdet_peers.mmcv_attention_of, len)).step({})
    assert seen == [(len, "optimizer")]


def test_a_step_waits_for_a_gpu_a_twentieth_as_often_as_mmdets():
    """Counted on a stand-in: matching and clipping, and for DINO the number of denoising pairs."""
    batch = make_batch(CONDITIONS)
    own, peer = (make_side("detr", side, CONDITIONS) for side in (OURS, MMDET))
    assert measures.waits_on_stand_in(own, batch) == 2
    assert measures.waits_on_stand_in(peer, batch) >= 40


def test_a_step_of_dino_waits_three_times():
    """The detector stays on the stand-in, so it is nobody else's."""
    assert measures.waits_on_stand_in(small_dino(), make_batch(CONDITIONS)) == 3


def test_the_command_prints_ratios_and_writes_json(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(rows, "measure", lambda names, conditions, say: iter([ROW]))
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
    shown = " ".join(capsys.readouterr().out.split())
    assert "deformable attention in plain torch" in shown
    assert "TOOD runs on this project's deformable convolution" in shown


def test_waits_that_a_stand_in_cannot_count_are_unknown(monkeypatch):
    """As of an operator that has no form for it."""

    def refuse(contender, batch):
        raise NotImplementedError("torchvision::nms")

    monkeypatch.setattr(measures, "waits_on_stand_in", refuse)
    assert measures.waits_of(None, {}, CONDITIONS) is None


def test_a_peer_that_is_not_installed_is_named_and_left_out(monkeypatch):
    monkeypatch.setattr(whole, "find_spec", lambda package: None)
    said = []
    monkeypatch.setattr(rows, "_rows", lambda name, sides, conditions, say: iter([(name, sides)]))
    assert list(rows.measure(["detr"], CONDITIONS, said.append)) == [("detr", [OURS, MMDET])]
    assert said == ["detr beside Hugging Face is left out: pip install transformers"]


@pytest.mark.parametrize(
    ("name", "side"), [("fcos", "torchvision"), ("detr", TRANSFORMERS), ("deformable_detr", TRANSFORMERS), ("dw", OURS)]
)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_peer_learns(name, side, precision):
    """A step changes what learns, by finite numbers, and leaves the frozen stages."""
    if side in families()[name].missing():
        pytest.skip(f"{side} is not installed")
    conditions = replace(CONDITIONS, precision=precision)
    contender = make_side(name, side, conditions)
    before = {key: value.clone() for key, value in contender.model.named_parameters()}
    contender.step(make_batch(conditions))
    changed = {key for key, value in contender.model.named_parameters() if not torch.equal(value, before[key])}
    learning = {key for key, value in contender.model.named_parameters() if value.requires_grad}
    assert changed <= learning
    assert changed
    assert len(contender.optimizer.optimizer.state) == len(learning)  # each has had a gradient
    assert all(value.isfinite().all() for value in contender.model.parameters())


def test_operators_are_told_by_the_time_they_take_themselves(small):
    times = operator_times(small, replace(CONDITIONS, steps=2))
    assert sum(each.share for each in times) == pytest.approx(1)
    assert [each.seconds for each in times] == sorted((each.seconds for each in times), reverse=True)
    calls = {each.operator: each.calls for each in times}
    sizes = (len(small.model.encoder.layers), len(small.model.decoder.layers))
    assert calls["detassign::ms_deform_attn"] == calls["detassign::ms_deform_attn_backward"] == sum(sizes)
    assert "aten::convolution_backward" in calls


def event(key, count, cpu=0.0, device=0.0, device_type=DeviceType.CPU):
    """As torch's profiler averages them, in microseconds."""
    return SimpleNamespace(
        key=key, count=count, self_cpu_time_total=cpu, self_device_time_total=device, device_type=device_type
    )


EVENTS = [
    event("aten::add", 4, cpu=10.0, device=100.0),
    event("aten::mm", 2, cpu=30.0, device=300.0),
    event("aten::view", 6, cpu=40.0),
    event("add_kernel", 4, device=100.0, device_type=DeviceType.CUDA),
    event("gemm_kernel", 2, device=300.0, device_type=DeviceType.CUDA),
]


def test_a_kernels_time_is_that_of_its_operator_and_counts_once():
    """Operators that start nothing on a GPU take none of its time."""
    wanted = [OperatorTime("aten::mm", 150e-6, 1, 0.75), OperatorTime("aten::add", 50e-6, 2, 0.25)]
    assert times_of(EVENTS, on_gpu=True, steps=2) == wanted


def test_on_a_cpu_operators_take_its_time():
    times = times_of(EVENTS, on_gpu=False, steps=1)
    assert {each.operator: each.share for each in times} == {"aten::view": 0.5, "aten::mm": 0.375, "aten::add": 0.125}


def test_operators_of_one_family_are_shown_and_written(monkeypatch, tmp_path, small, capsys):
    monkeypatch.setattr(whole, "make_side", lambda name, side, conditions: small)
    out = tmp_path / "operators.json"
    threads = ["--threads", str(torch.get_num_threads())]
    with pytest.raises(SystemExit, match="0"):
        main(
            [
                "bench",
                "train-step",
                "--operators",
                "dino",
                "--size",
                "64x96",
                "--steps",
                "1",
                *threads,
                "--out",
                str(out),
            ]
        )
    written = json.loads(out.read_text())
    assert (written["family"], written["conditions"]["size"]) == ("dino", [64, 96])
    assert "aten::convolution_backward" in {each["operator"] for each in written["operators"]}
    assert "others" in capsys.readouterr().out


def test_operators_of_no_family_are_a_sentence(capsys):
    with pytest.raises(SystemExit, match="1"):
        main(["bench", "train-step", "--operators", "dinno", "--threads", str(torch.get_num_threads())])
    assert "expected some of dino," in capsys.readouterr().err

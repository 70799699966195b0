"""Training in bfloat16: what becomes narrow and what does not, what "auto" chooses, and what is refused."""

import json

import pytest
import torch
from torch import nn

from detassign.data import make_dataset, resolve
from detassign.engine import precision
from detassign.engine.build import build_model
from detassign.engine.config import compose, read
from detassign.engine.datasets import train_loader
from detassign.engine.notes import Note
from detassign.engine.precision import kept, optim_wrapper, precision_of
from detassign.engine.runner import calm
from detassign.engine.train import train

CPU = torch.device("cpu")
DETECTORS = ("fcos_tiny", "dino_r18_tiny", "detr_tiny", "dn_dab_deformable_detr_tiny", "conditional_detr_tiny")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "shapes"
    make_dataset(folder, images=5, size=96)
    return resolve(folder)


@pytest.mark.parametrize("detector", DETECTORS)
def test_in_bfloat16_a_step_has_nearly_the_losses_of_float32(detector, source):
    """Layers are narrow; boxes and losses are not; and every parameter that float32 trains has a float32 gradient."""
    config = compose(detector, None, source, changes={"input.scale": (96, 96), "input.workers": 0}, batch_size=2)
    batch = next(iter(train_loader(source, config["input"], 2, 0, None)))
    losses, trained = {}, {}
    for dtype in (torch.float32, torch.bfloat16):
        with calm():
            torch.manual_seed(0)
            model = build_model(config).train()
        widths = _output_widths(model)
        wrapper = optim_wrapper(dtype, CPU, optimizer=torch.optim.SGD(model.parameters(), lr=0.0))
        torch.manual_seed(1)
        with wrapper.optim_context(model):
            total, said = model.parse_losses(model(**model.data_preprocessor(batch, True), mode="loss"))
        total.backward()
        assert widths["convolutions"] == {dtype}
        assert widths["boxes"] <= {torch.float32}
        assert {value.dtype for name, value in said.items() if "loss" in name} == {torch.float32}
        losses[dtype] = total.item()
        trained[dtype] = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
        assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert losses[torch.bfloat16] == pytest.approx(losses[torch.float32], rel=0.02)
    assert trained[torch.bfloat16] >= trained[torch.float32]


def _output_widths(model: nn.Module) -> dict[str, set[torch.dtype]]:
    """Fills, while the model runs, with the dtypes that its convolutions and its head give."""
    seen: dict[str, set[torch.dtype]] = {"convolutions": set(), "boxes": set()}
    for module in model.backbone.modules():
        if type(module) is nn.Conv2d:
            module.register_forward_hook(lambda _, __, output: seen["convolutions"].add(output.dtype))
    model.bbox_head.register_forward_hook(lambda _, __, output: seen["boxes"].add(output.boxes.dtype))
    return seen


def test_a_run_in_bfloat16_says_so(source, tmp_path):
    changes = {"input.scale": (96, 96), "model.head.stacked_convs": 1}
    config = compose("fcos_tiny", "dw", source, changes=changes, epochs=1, batch_size=2, precision="amp")
    summary = train(config, tmp_path / "run", quiet=True)
    assert summary["precision"] == "bfloat16"
    assert "on cpu in bfloat16, about" in (tmp_path / "run" / "train.log").read_text()
    state = torch.load(tmp_path / "run" / "epoch_1.pth", weights_only=False)["state_dict"]
    assert {value.dtype for value in state.values() if value.is_floating_point()} == {torch.float32}


def test_a_run_of_auto_is_decided_once(source, tmp_path, monkeypatch, capsys):
    """It is measured by two rates, and when the run goes on there is no third."""
    measured = iter([2.0, 1.0])
    monkeypatch.setattr(precision, "rate", lambda *_: next(measured))
    changes = {"input.scale": (96, 96), "model.head.stacked_convs": 1}
    config = compose("fcos_tiny", "dw", source, changes=changes, epochs=1, batch_size=2, precision="auto", device="cpu")
    folder = tmp_path / "run"
    precision.fastest.cache_clear()
    train(config, folder, quiet=True)
    precision.fastest.cache_clear()
    said = "in bfloat16 (auto: cpu multiplies bfloat16 matrices 2.0 times as fast as float32), about"
    assert said in capsys.readouterr().err
    assert read(folder / "config.json")["precision"] == "bfloat16"
    config["schedule"]["epochs"] = 2
    with pytest.warns(Note):  # the pace is another
        assert train(config, folder, resume=True, quiet=True)["precision"] == "bfloat16"
    assert "in bfloat16 (auto: as it began), about" in capsys.readouterr().err


@pytest.mark.parametrize(("times", "chosen"), [(1.4, torch.float32), (1.6, torch.bfloat16)])
def test_auto_takes_bfloat16_where_it_is_worth_it(times, chosen, monkeypatch):
    monkeypatch.setattr(precision, "rate", lambda device, dtype: times if dtype == torch.bfloat16 else 1.0)
    precision.fastest.cache_clear()
    found = precision_of({"precision": "auto", "device": "cpu"})
    precision.fastest.cache_clear()
    assert found.dtype == chosen
    assert str(found).endswith(f"(auto: cpu multiplies bfloat16 matrices {times} times as fast as float32)")


@pytest.mark.parametrize(
    ("asked", "begun", "told"),
    [
        ("auto", "float32", "float32 (auto: as it began)"),
        ("auto", "float16", "float16 (auto: as it began)"),
        ("amp", "bfloat16", "bfloat16"),
        ("amp", "float32", "None"),
        ("bfloat16", "float32", "None"),
        ("auto", "amp", "None"),
        ("auto", None, "None"),
    ],
)
def test_what_goes_on_keeps_what_it_began_with(asked, begun, told):
    assert str(kept(asked, begun)) == told


def test_rates_are_those_of_the_work_done(monkeypatch):
    monkeypatch.setattr(precision, "_seconds", iter([9.0, 0.5, 0.25, 1.0, 2.0, 3.0]).__next__)
    monkeypatch.setattr(precision, "_seconds", lambda matrix, take=precision._seconds: take())
    assert precision.rate(CPU, torch.float32) == 2 * precision.SIDE**3 / 0.25


def test_what_a_device_cannot_train_in_is_refused():
    with pytest.raises(ValueError, match="float16 trains on a GPU alone"):
        precision_of({"precision": "float16", "device": "cpu"})
    with pytest.raises(ValueError, match="expected one of float32, bfloat16, float16, amp, auto, got 'half'"):
        precision_of({"precision": "half", "device": "cpu"})


@pytest.mark.parametrize(("amp", "now"), [(True, "float16"), (False, "float32")])
def test_a_config_of_the_time_of_the_switch_is_read_as_what_it_was(amp, now, source, tmp_path):
    config = compose("fcos_tiny", "fcos", source)
    del config["precision"]
    (tmp_path / "config.json").write_text(json.dumps({**config, "amp": amp}))
    assert read(tmp_path / "config.json")["precision"] == now

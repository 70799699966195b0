import argparse
import os
import shutil
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModel
from mmengine.runner import Runner, checkpoint, load_checkpoint
from safetensors.torch import save_file

from detassign.compat import safe_load


class Reduced:
    """Pickles as a call, and optionally as a state given to what the call returns."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


def program(path: Path) -> str:
    return f"open({str(path)!r}, 'w').close()"


# Each makes a file when it is unpickled.
PAYLOADS = {
    "posix.mkdir": lambda path: Reduced(os.mkdir, (str(path),)),
    "exec": lambda path: Reduced(exec, (program(path),)),
    "eval": lambda path: Reduced(eval, (program(path),)),
    "shutil.copyfile": lambda path: Reduced(shutil.copyfile, (__file__, str(path))),
}


@pytest.mark.parametrize("name", PAYLOADS)
@pytest.mark.parametrize("as_zip", [True, False])
def test_a_file_that_would_run_code_is_refused_and_runs_none(tmp_path, name, as_zip):
    trace, file = tmp_path / "trace", tmp_path / "evil.pth"
    torch.save({"state_dict": PAYLOADS[name](trace)}, file, _use_new_zipfile_serialization=as_zip)
    with pytest.raises(ValueError, match=rf"evil.pth' asks for (builtins\.)?{name}, which is not among the data types"):
        safe_load(file)
    assert not trace.exists()


def test_mmengine_refuses_what_safe_load_refuses(tmp_path):
    trace, file = tmp_path / "trace", tmp_path / "evil.pth"
    torch.save({"state_dict": PAYLOADS["exec"](trace)}, file)
    with pytest.raises(ValueError, match="not among the data types"):
        load_checkpoint(torch.nn.Linear(1, 1), str(file))
    with pytest.raises(ValueError, match="not among the data types"):
        checkpoint.load_url(file.as_uri(), model_dir=str(tmp_path / "cache"), progress=False)
    assert not trace.exists()


def test_mmengine_loads_by_url_what_is_data(tmp_path):
    torch.save({"weight": torch.ones(2), "log": HistoryBuffer([1.0], [1])}, tmp_path / "data.pth")
    loaded = checkpoint.load_url((tmp_path / "data.pth").as_uri(), model_dir=str(tmp_path / "cache"), progress=False)
    assert torch.equal(loaded["weight"], torch.ones(2))
    assert loaded["log"].mean() == 1.0


@pytest.mark.parametrize("as_zip", [True, False])
def test_the_options_of_research_code_become_a_dict(tmp_path, as_zip):
    options = argparse.Namespace(lr=1e-4, device=torch.device("cpu"), nested=argparse.Namespace(sizes=[480, 512]))
    file = tmp_path / "checkpoint.pth"
    saved = {"model": {"weight": torch.ones(2)}, "args": options, "again": options}
    torch.save(saved, file, _use_new_zipfile_serialization=as_zip)
    loaded = safe_load(file)
    assert loaded["args"] == {"lr": 1e-4, "device": torch.device("cpu"), "nested": {"sizes": [480, 512]}}
    assert loaded["again"] is loaded["args"]


def test_options_may_hold_no_code(tmp_path):
    trace, file = tmp_path / "trace", tmp_path / "evil.pth"
    torch.save({"args": argparse.Namespace(run=PAYLOADS["exec"](trace))}, file)
    with pytest.raises(ValueError, match=r"asks for (builtins\.)?exec"):
        safe_load(file)
    assert not trace.exists()


def test_getattr_yields_a_name_and_never_a_function(tmp_path):
    torch.save(Reduced(getattr, (HistoryBuffer, "update")), tmp_path / "file.pth")
    assert safe_load(tmp_path / "file.pth") == "update"


@pytest.mark.parametrize(
    "dtype",
    [
        Reduced(np.dtype, ("O8", False, True)),
        Reduced(np.dtype, ("V8", False, True)),
        Reduced(np.dtype, ("f8", False, True), (3, "<", None, ("a",), {"a": ("f8", 0)}, 8, 8, 0)),
        Reduced(np.dtype, ("f8", False, True), (3, "<", ("f8", (2,)), None, None, 8, 8, 0)),
    ],
    ids=["objects", "void", "fields", "subarray"],
)
def test_numpy_dtypes_other_than_plain_numbers_are_refused(tmp_path, dtype):
    torch.save(dtype, tmp_path / "file.pth")
    with pytest.raises(ValueError, match=r"cannot be read as a PyTorch checkpoint: numpy dtype"):
        safe_load(tmp_path / "file.pth")


def test_a_numpy_array_whose_bytes_do_not_fill_its_shape_is_refused(tmp_path):
    rebuild, arguments, (version, _, dtype, order, data) = np.ones(2).__reduce__()
    torch.save(Reduced(rebuild, arguments, (version, (10**12,), dtype, order, data)), tmp_path / "file.pth")
    with pytest.raises(ValueError, match="numpy array is damaged"):
        safe_load(tmp_path / "file.pth")


def test_numbers_arrays_and_logs_come_back_as_they_were(tmp_path):
    arrays = [np.arange(6, dtype=code).reshape(2, 3) for code in ("u1", "<i4", ">i8", "f4", "f8", "c16")]
    arrays += [np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.array([True, False]), np.empty((0, 4))]
    history = HistoryBuffer([1.0, 2.0], [1, 3], max_length=5)
    saved = {"arrays": arrays, "best": np.float64(0.25), "steps": (np.int64(3), "x"), "loss": history}
    torch.save(saved, tmp_path / "file.pth")
    loaded = safe_load(tmp_path / "file.pth")
    for mine, other in zip(loaded["arrays"], arrays, strict=True):
        assert mine.dtype == other.dtype
        np.testing.assert_array_equal(mine, other)
        mine[...] = 0  # writable
    assert isinstance(loaded["best"], np.float64)
    assert (loaded["best"], loaded["steps"]) == (0.25, (3, "x"))
    assert type(loaded["loss"]) is HistoryBuffer
    assert loaded["loss"].max_length == 5
    assert loaded["loss"].statistics("mean") == history.statistics("mean") == 3 / 4


def test_state_dicts_keep_their_type_and_metadata(tmp_path):
    state = torch.nn.BatchNorm1d(2).state_dict()
    torch.save({"state_dict": state}, tmp_path / "file.pth")
    loaded = safe_load(tmp_path / "file.pth")["state_dict"]
    assert type(loaded) is OrderedDict
    assert loaded._metadata == state._metadata


def test_a_checkpoint_that_contains_itself_is_loaded(tmp_path):
    cycle = {"log": HistoryBuffer([1.0], [1])}
    cycle["self"] = cycle
    torch.save(cycle, tmp_path / "file.pth")
    loaded = safe_load(tmp_path / "file.pth")
    assert loaded["self"] is loaded
    assert loaded["log"].mean() == 1.0


def test_parts_shared_many_times_over_are_read_once(tmp_path):
    """Unfolded, these tuples would have 2^200 leaves."""
    shared = (np.float64(1.0),)
    for _ in range(200):
        shared = (shared, shared)
    torch.save(shared, tmp_path / "file.pth")
    loaded = safe_load(tmp_path / "file.pth")
    assert loaded[0] is loaded[1]


def test_sizes_stay_sizes(tmp_path):
    torch.save({"size": torch.Size([2, 3])}, tmp_path / "file.pth")
    assert type(safe_load(tmp_path / "file.pth")["size"]) is torch.Size


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no\.pth' does not exist"):
        safe_load(tmp_path / "no.pth")


@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x02garbage", b"PK\x03\x04 not a zip"])
def test_a_file_that_is_no_checkpoint_is_named(tmp_path, content):
    (tmp_path / "file.pth").write_bytes(content)
    with pytest.raises(ValueError, match=r"file\.pth' cannot be read as a PyTorch checkpoint"):
        safe_load(tmp_path / "file.pth")


def test_a_truncated_checkpoint_is_named(tmp_path):
    torch.save(torch.ones(10000), tmp_path / "file.pth")
    (tmp_path / "file.pth").write_bytes((tmp_path / "file.pth").read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"file\.pth' cannot be read as a PyTorch checkpoint"):
        safe_load(tmp_path / "file.pth")


def test_a_compressed_archive_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb/data.pkl", b"0" * 10**6)
    with pytest.raises(ValueError, match=r"bomb\.pth' cannot be read .*: it is a compressed archive"):
        safe_load(tmp_path / "bomb.pth")


class Regression(BaseModel):
    """One linear layer that learns to add."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def forward(self, inputs, mode="loss"):
        inputs = torch.stack(inputs)
        return {"loss": (self.layer(inputs) - inputs.sum(1, keepdim=True)).square().mean()}


def pairs() -> list[dict[str, torch.Tensor]]:
    return [{"inputs": pair} for pair in torch.rand(8, 2, generator=torch.Generator().manual_seed(0))]


def make_runner(work_dir: Path, epochs: int, **settings) -> Runner:
    torch.manual_seed(0)
    sampler = {"type": "DefaultSampler", "shuffle": False}
    return Runner(
        model=Regression(),
        work_dir=str(work_dir),
        experiment_name=f"{work_dir.name}_{epochs}",
        train_dataloader={"batch_size": 4, "num_workers": 0, "sampler": sampler, "dataset": pairs()},
        train_cfg={"by_epoch": True, "max_epochs": epochs},
        optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.1, "momentum": 0.9}},
        param_scheduler=[
            {"type": "LinearLR", "start_factor": 0.1, "by_epoch": False, "end": 5},
            {"type": "MultiStepLR", "milestones": [2, 3]},
        ],
        default_hooks={"logger": {"type": "LoggerHook", "interval": 1}},
        log_level="ERROR",
        **settings,
    )


def test_resumed_training_equals_uninterrupted_training(tmp_path):
    whole = make_runner(tmp_path / "whole", epochs=4)
    whole.train()
    half_way = str(tmp_path / "whole" / "epoch_2.pth")
    resumed = make_runner(tmp_path / "resumed", epochs=4, load_from=half_way, resume=True)
    resumed.train()

    assert resumed.iter == whole.iter == 8
    assert torch.equal(resumed.model.layer.weight, whole.model.layer.weight)
    optimizers = [runner.optim_wrapper.optimizer.state_dict() for runner in (resumed, whole)]
    assert torch.equal(*(optimizer["state"][0]["momentum_buffer"] for optimizer in optimizers))
    schedules = [[s.state_dict() for s in runner.param_schedulers] for runner in (resumed, whole)]
    assert schedules[0] == schedules[1]
    logs = [runner.message_hub.get_scalar("train/loss").data[0] for runner in (resumed, whole)]
    np.testing.assert_array_equal(*logs)


def test_resuming_does_not_execute_a_program_in_the_checkpoint(tmp_path):
    make_runner(tmp_path / "run", epochs=1).train()
    saved = tmp_path / "run" / "epoch_1.pth"
    contents = safe_load(saved)
    contents["meta"]["config"] = program(tmp_path / "trace")
    torch.save(contents, saved)
    runner = make_runner(tmp_path / "run", epochs=2, resume=True)
    runner.train()
    assert runner.iter == 4
    assert not (tmp_path / "trace").exists()


def test_safetensors_are_read_whatever_the_file_is_called(tmp_path):
    wanted = {"a.weight": torch.arange(6.0).view(2, 3), "b": torch.tensor(3)}
    for name in ("weights.safetensors", "weights.pth"):
        save_file(wanted, tmp_path / name)
        read = safe_load(tmp_path / name)
        assert read.keys() == wanted.keys()
        assert all(torch.equal(read[key], value) for key, value in wanted.items())


def header(document: bytes, data: bytes = b"") -> bytes:
    return len(document).to_bytes(8, "little") + document + data


@pytest.mark.parametrize(
    "content",
    [
        header(b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}', b"short"),
        header(b'{"a":{"dtype":"F32","shape":[99999999999],"data_offsets":[0,16]}}', bytes(16)),
        header(b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[16,0]}}', bytes(16)),
        header(b'{"a":'),
        (50_000_000).to_bytes(8, "little") + b"{",
    ],
    ids=["cut off", "claims more", "turned around", "half a header", "a header that is not there"],
)
def test_damaged_safetensors_are_named(tmp_path, content):
    (tmp_path / "weights.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=r"weights\.safetensors' cannot be read as safetensors"):
        safe_load(tmp_path / "weights.safetensors")

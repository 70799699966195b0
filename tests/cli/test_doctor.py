"""doctor on the command line: what is there, what would run where, and what is known to go wrong."""

import json
import subprocess
import sys
import warnings
from importlib import metadata
from types import SimpleNamespace

import pytest
import torch
from support.command import run

from detassign import compat, ops
from detassign.cli import doctor_examination as doctor
from detassign.compat.op_coverage import OpCoverage


@pytest.fixture
def status(monkeypatch):
    """Replaces the state of the kernels."""

    def set_status(**errors):
        states = {name: ops.ExtensionStatus(name, error is None, error) for name, error in errors.items()}
        monkeypatch.setattr(ops, "extension_status", lambda: states)

    return set_status


@pytest.fixture
def installed(monkeypatch):
    """Replaces the versions that are installed; None is a package that is not."""

    def set_versions(**versions):
        real = metadata.version

        def version(name):
            chosen = versions.get(name.replace("-", "_"), "as it is")
            if chosen is None:
                raise metadata.PackageNotFoundError(name)
            return real(name) if chosen == "as it is" else chosen

        monkeypatch.setattr(metadata, "version", version)

    return set_versions


def test_json_holds_versions_kernels_devices_ops_and_warnings(capsys):
    assert run("doctor", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["versions"]["torch"] == metadata.version("torch")
    assert {"python", "detassign", "torchvision", "mmengine", "mmdet", "numpy", "pycocotools"} <= set(found["versions"])
    assert found["mmcv"]["flavour"] == compat.mmcv_flavour()
    assert set(found["kernels"]) == {"cpu", "cuda"}
    assert found["cpu"]["capability"] == torch.backends.cpu.get_cpu_capability()
    assert found["cuda"]["devices"] == (torch.cuda.device_count() if torch.cuda.is_available() else 0)
    assert set(found["ops"]) == {"sample_maps", "ms_deform_attn", "linear_assignment", "deform_conv2d", "dropout"}


def test_text_shows_the_same_and_ends_in_a_verdict(capsys):
    assert run("doctor") == 0
    lines = capsys.readouterr().out.splitlines()
    assert {"versions", "mmcv", "kernels", "cpu", "cuda", "ops"} <= set(lines)
    assert lines[-1].startswith(("warning: ", "nothing is known to be wrong"))


def test_ops_run_compiled_where_their_kernels_are_loaded(status):
    if not hasattr(torch.ops.detassign, "sample_maps"):
        pytest.skip("the compiled kernels are not built here")
    status(cpu=None, cuda="not built")
    assert doctor.where_ops_run()["sample_maps"] == {"cpu": "compiled", "cuda": "reference"}
    status(cpu=None, cuda=None)
    assert doctor.where_ops_run()["sample_maps"] == {"cpu": "compiled", "cuda": "compiled"}
    assert doctor.where_ops_run()["ms_deform_attn"] == {"cpu": "compiled", "cuda": "compiled"}
    assert doctor.where_ops_run()["linear_assignment"] == {"cpu": "compiled", "cuda": "on the host"}


def test_kernels_that_do_not_load_are_a_warning_with_the_reason(status, capsys):
    status(cpu="libtorch.so is of another version", cuda="the CPU module is not loaded")
    assert run("doctor") == 0
    shown = capsys.readouterr().out
    assert "warning: the compiled cpu kernels are not loaded" in shown
    assert "libtorch.so is of another version" in shown


def test_missing_cuda_kernels_are_no_warning_without_a_gpu(status, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    status(cpu=None, cuda="not built")
    assert not [sentence for sentence in doctor.examine()["warnings"] if "cuda" in sentence]


def test_a_broken_full_mmcv_is_a_warning(monkeypatch):
    def broken():
        warnings.warn(
            "mmcv's compiled ops do not load (undefined symbol); torchvision's are used instead", stacklevel=2
        )
        return "lite"

    monkeypatch.setattr(compat, "mmcv_flavour", broken)
    found = doctor.examine()
    assert found["mmcv"]["flavour"] == "lite"
    assert [sentence for sentence in found["warnings"] if "undefined symbol" in sentence]


def test_a_full_mmcv_served_by_the_stand_in_is_a_warning_whoever_asked_first(installed, monkeypatch):
    installed(mmcv="2.1.0", mmcv_lite=None)
    monkeypatch.setattr(compat, "mmcv_flavour", lambda: "lite")
    found = doctor.examine()
    assert found["versions"]["mmcv"] == "2.1.0"
    assert "mmcv's compiled ops do not load; torchvision's are used instead" in found["warnings"]
    assert not [sentence for sentence in found["warnings"] if "mmcv-lite" in sentence]


def test_an_mmdet_that_does_not_import_is_an_error_and_exit_status_1(monkeypatch, capsys):
    def broken():
        raise ModuleNotFoundError("No module named 'pkg_resources'")

    monkeypatch.setattr(compat, "mmcv_flavour", broken)
    assert run("doctor") == 1
    sentence = "mmdet does not import, so nothing trains: No module named 'pkg_resources'"
    shown = capsys.readouterr().out
    assert f"error: {sentence}\n" in shown
    assert "nothing is known to be wrong" not in shown
    assert run("doctor", "--json") == 1
    assert json.loads(capsys.readouterr().out)["errors"] == [sentence]


def test_a_package_that_only_training_needs_is_an_error_too(monkeypatch, capsys):
    for module in ("train", "runner"):
        monkeypatch.delitem(sys.modules, f"detassign.engine.{module}", raising=False)
    monkeypatch.setitem(sys.modules, "mmengine.runner", None)
    assert run("doctor") == 1
    shown = capsys.readouterr().out
    assert "error: a package that training needs does not import, so nothing trains: " in shown
    assert "mmengine.runner" in shown


def test_missing_and_misfit_packages_are_warnings(installed):
    installed(mmdet="2.28.0", pycocotools=None)
    versions, sentences = doctor.requirements()
    assert versions["pycocotools"] is None
    assert "mmdet 2.28.0 is installed, but detassign is made for mmdet==3.3.0" in sentences
    assert "pycocotools is not installed: pip install 'pycocotools'" in sentences


def test_two_mmcvs_at_once_are_a_warning(installed):
    installed(mmcv="2.1.0", mmcv_lite="2.1.0")
    assert [sentence for sentence in doctor.requirements()[1] if "both installed" in sentence]


def test_a_torchvision_made_for_another_torch_is_an_error(monkeypatch):
    def refuse(*arguments):
        raise RuntimeError("operator torchvision::nms does not exist\nand more")

    monkeypatch.setattr("torchvision.ops.nms", refuse)
    (sentence,) = doctor.examine()["errors"]
    assert sentence.startswith("torchvision's compiled ops do not run on cpu")
    assert sentence.endswith("operator torchvision::nms does not exist; so nothing trains")


def test_a_torchvision_without_a_gpus_ops_is_a_warning_since_the_cpu_trains(monkeypatch):
    monkeypatch.setattr(doctor, "_device_types", lambda: ["cpu", "cuda"])
    monkeypatch.setattr(doctor, "_nms_problem", lambda device: "cuda: no nms" if device == "cuda" else None)
    found = doctor.examine()
    assert "cuda: no nms" in found["warnings"]
    assert found["errors"] == []


def test_more_threads_than_cpus_of_a_control_group_are_a_warning(tmp_path, monkeypatch):
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    monkeypatch.setattr(doctor, "CPU_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(64), raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    sentence = "torch uses 64 threads on 2 usable CPUs, which is slow: set OMP_NUM_THREADS=2"
    assert sentence in doctor.examine()["warnings"]


def test_a_control_group_without_a_limit_leaves_all_cpus(tmp_path, monkeypatch):
    (tmp_path / "cpu.max").write_text("max 100000\n")
    monkeypatch.setattr(doctor, "CPU_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(64), raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    found = doctor.examine()
    assert found["cpu"]["usable_cpus"] == 64
    assert not [sentence for sentence in found["warnings"] if "threads" in sentence]


def test_gpus_are_listed_with_memory_and_capability(monkeypatch):
    device = SimpleNamespace(name="Large GPU", total_memory=80 * 2**30, major=9, minor=0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: device)
    monkeypatch.setattr(doctor, "_nms_problem", lambda device: None)
    assert doctor.examine()["cuda"]["cuda:0"] == "Large GPU, 80 GiB, capability 9.0"


def test_what_cuda_complains_about_is_a_warning(monkeypatch):
    def complain():
        warnings.warn("CUDA initialization: the driver is too old", stacklevel=2)
        return False

    monkeypatch.setattr(torch.cuda, "is_available", complain)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert "CUDA initialization: the driver is too old" in doctor.examine()["warnings"]


@pytest.fixture
def covered(monkeypatch):
    """Replaces what is known of mmcv's ops."""

    def set_coverage(**ops):
        found = {name: OpCoverage(*coverage) for name, coverage in ops.items()}
        monkeypatch.setattr("detassign.compat.op_coverage.op_coverage", lambda: found)

    return set_coverage


def test_ops_of_mmcv_are_listed_with_what_serves_and_who_needs_each(covered, capsys):
    many = [f"{family}/r50" for family in ("atss", "fcos", "gfl")]
    covered(a_forward=(None, []), nms=("torchvision", many), nms_match=("torch", ["pisa/r50"]), roi_pool=("torch", []))
    assert run("doctor", "--ops") == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[2:6] == [
        ["nms", "torchvision", "3", "configs", "of", "3", "families"],
        ["nms_match", "torch", "1", "config:", "pisa"],
        ["roi_pool", "torch", "-"],
        ["a_forward", "not", "served", "-"],
    ]
    assert " ".join(lines[-1]) == "3 of 4 ops are served; no config of mmdet needs another"


def test_families_that_need_an_op_that_is_not_served_are_named(covered, capsys):
    covered(nms=("torch", ["atss/r50"]), roi=(None, ["pisa/r50", "dcn/r50", "pisa/r101"]))
    assert run("doctor", "--ops") == 0
    assert capsys.readouterr().out.endswith("1 of 2 ops are served; these need one that is not: dcn, pisa\n")


def test_without_mmdets_configs_nothing_is_claimed_about_them(covered, capsys):
    covered(nms=("torch", []))
    assert run("doctor", "--ops") == 0
    assert "mmdet is installed without its configs" in capsys.readouterr().out


def test_ops_as_json(covered, capsys):
    covered(nms=("torch", ["atss/r50"]), roi=(None, []))
    assert run("doctor", "--ops", "--json") == 0
    expected = {"nms": {"served_by": "torch", "configs": ["atss/r50"]}, "roi": {"served_by": None, "configs": []}}
    assert json.loads(capsys.readouterr().out) == expected


def test_ops_without_mmcv_are_one_sentence(monkeypatch, capsys):
    monkeypatch.setattr("detassign.compat.op_coverage.find_spec", lambda name: None)
    assert run("doctor", "--ops") == 1
    assert "Error: No module named 'mmcv', so mmcv's ops are not known: pip install" in capsys.readouterr().err


def test_ops_of_a_damaged_mmcv_are_one_sentence(tmp_path, monkeypatch, capsys):
    (tmp_path / "broken.py").write_text("def half(")
    monkeypatch.setattr("detassign.compat.op_coverage._folder", lambda name: tmp_path)
    assert run("doctor", "--ops") == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("Error: '(' was never closed (broken.py, line 1), so mmcv's ops are not known: reinstall")


def test_what_is_shown_wraps_between_words_in_a_narrow_terminal(status, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "50")
    status(cpu=None, cuda="a long story of a module that was not built when all the rest was installed")
    run("doctor")
    lines = capsys.readouterr().out.splitlines()
    start = lines.index("kernels")
    shown = lines[start + 1 : lines.index("cpu", start)]
    assert max(map(len, shown)) <= 50
    assert " ".join(" ".join(shown).split()) == (
        "cpu loaded cuda a long story of a module that was not built when all the rest was installed"
    )


@pytest.mark.parametrize("package", ["safetensors", "numpy", "rich", "mmengine", "cv2"])
def test_doctor_runs_without_what_it_is_asked_about(package):
    code = f"import sys; sys.modules[{package!r}] = None\nfrom detassign.cli import main; main(['doctor'])"
    result = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr == ""
    (sentence,) = [line for line in result.stdout.splitlines() if line.startswith("error: ")]
    assert "so nothing trains: " in sentence
    assert package in sentence

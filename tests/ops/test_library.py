import ast
import shutil
import subprocess
import sys

import pytest

import detassign.ops
from detassign.ops import extension_status
from detassign.ops._library import OPERATORS, tell_missing


def run_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_public_names_are_these():
    assert sorted(detassign.ops.__all__) == [
        "ExtensionStatus",
        "LinearAssignment",
        "MissingKernelWarning",
        "deform_conv2d",
        "deform_conv2d_reference",
        "dropout",
        "dropout_reference",
        "extension_status",
        "linear_assignment",
        "linear_assignment_reference",
        "ms_deform_attn",
        "ms_deform_attn_reference",
        "portable_ops",
        "sample_maps",
        "sample_maps_reference",
    ]
    assert all(hasattr(detassign.ops, name) for name in detassign.ops.__all__)


def test_every_backend_is_loaded_or_says_why_not():
    for backend, status in extension_status().items():
        assert status.backend == backend
        assert status.loaded is (status.error is None)


@pytest.mark.skipif(
    not extension_status()["cpu"].loaded, reason="the CPU module, which owns the schemas, is not loaded"
)
def test_the_operators_that_a_build_must_have_are_those_of_the_sources():
    code = f"import torch; torch.ops.load_library({detassign.ops._C.__file__!r})\n"
    code += "print(*(name for name in torch._C._dispatch_get_all_op_names() if name.startswith('detassign::')))"
    built = {name.partition("::")[2] for name in run_python(code).split()}
    assert built == set(OPERATORS)


def test_an_earlier_build_without_todays_operators_is_as_none():
    code = "import torch; empty = torch.library.Library('detassign', 'DEF')\n"
    code += "import sys, types; sys.modules['detassign.ops._C'] = types.ModuleType('detassign.ops._C')\n"
    code += "from detassign.ops import extension_status, sample_maps\n"
    code += "print(sample_maps(torch.ones(1, 1, 1, 2), torch.zeros(1, 1, 2, 1, 2)).tolist())\n"
    code += "print(extension_status()['cpu'].error)"
    assert run_python(code) == "[[[[1.0, 1.0]]]]\nthey were built from earlier sources, without deform_conv2d\n"


@pytest.mark.skipif(shutil.which("c++") is None, reason="there is no C++ compiler, so nothing was built")
def test_cpu_kernels_are_loaded_where_a_compiler_is():
    assert extension_status()["cpu"].loaded, extension_status()["cpu"].error


def test_importing_the_ops_needs_torch_and_nothing_else():
    code = "import sys; blocked = ['mmdet', 'mmcv', 'mmengine', 'torchvision', 'numpy', 'scipy', 'click']\n"
    code += "sys.modules.update(dict.fromkeys(blocked)); import detassign.ops; print('imported')"
    assert run_python(code) == "imported\n"


def test_reference_serves_where_the_extension_is_missing():
    code = "import sys, torch; sys.modules['detassign.ops._C'] = None\n"
    code += "from detassign.ops import extension_status, sample_maps\n"
    code += "print(sample_maps(torch.ones(1, 1, 1, 2), torch.zeros(1, 1, 2, 1, 2)).tolist())\n"
    code += "print(*(status.error for status in extension_status().values()), sep='; ')"
    value, errors = run_python(code).splitlines()
    assert value == "[[[[1.0, 1.0]]]]"
    assert "detassign.ops._C" in errors
    assert "the CPU module, which owns the schemas, is not loaded" in errors


def test_missing_kernels_are_told_once_at_first_use_with_the_remedy():
    code = "import sys, torch, warnings; sys.modules['detassign.ops._C'] = None\n"
    code += "from detassign.ops import linear_assignment, ms_deform_attn, sample_maps\n"
    code += "def use():\n"
    code += "    with warnings.catch_warnings(record=True) as said:\n"
    code += "        warnings.simplefilter('always')\n"
    code += "        for _ in range(2):\n"
    code += "            sample_maps(torch.ones(1, 1, 1, 2), torch.zeros(1, 1, 2, 1, 2))\n"
    code += "            linear_assignment(torch.zeros(1, 2, 2))\n"
    code += "    return [(one.category.__name__, str(one.message), one.filename) for one in said]\n"
    code += "print(use()); print(use())"
    first, second = map(ast.literal_eval, run_python(code).splitlines())
    for (category, sentence, place), instead in zip(first, ("pure torch", "scipy"), strict=True):
        assert category == "MissingKernelWarning"
        assert sentence.startswith("the compiled cpu kernels of detassign are not loaded (")
        assert f"), so slower {instead} runs in their place; " in sentence
        assert sentence.endswith(
            "install detassign where torch and a C++ compiler are, with pip's --no-build-isolation"
        )
        assert place == "<string>"  # where the op was called
    assert second == []


def test_no_kernels_are_missed_on_a_device_that_has_none(recwarn):
    tell_missing("mps")
    assert not recwarn.list

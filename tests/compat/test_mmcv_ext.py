"""Each test runs its own interpreter, since a process has one ``mmcv._ext``."""

import subprocess
import sys
from pathlib import Path

RUN = """
import sys, warnings
import mmcv
mmcv.__path__.append(sys.argv[1])
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    from detassign.compat.mmcv_ext import install_extension, mmcv_flavour
    install_extension()
print(mmcv_flavour(), sys.modules["mmcv._ext"] is mmcv._ext, getattr(mmcv._ext, "nms", None))
print(*(str(w.message) for w in caught if "mmcv" in str(w.message)))
"""


def run_with_extension(folder: Path, source: str) -> list[str]:
    (folder / "_ext.py").write_text(source)
    command = [sys.executable, "-c", RUN, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def test_a_real_extension_is_used_untouched(tmp_path):
    flavour, warning = run_with_extension(tmp_path, "nms = 'compiled'")
    assert flavour == "full True compiled"
    assert warning == ""


def test_an_extension_that_does_not_load_is_replaced_with_a_warning(tmp_path):
    flavour, warning = run_with_extension(tmp_path, "raise ImportError('undefined symbol: _ZN2at')")
    assert flavour.startswith("lite True <function nms")
    assert warning == ("mmcv's compiled ops do not load (undefined symbol: _ZN2at); torchvision's are used instead")

import importlib
import subprocess
import sys

import pytest

from detassign.compat.on_import import after_import


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The name of a module that can be imported and is not yet; afterwards it never was."""
    (tmp_path / "a_module_of_this_test.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    finders = [*sys.meta_path]
    yield "a_module_of_this_test"
    sys.meta_path[:] = finders
    sys.modules.pop("a_module_of_this_test", None)


def test_the_action_follows_the_first_import(module):
    seen = []
    after_import({module: lambda: seen.append(sys.modules[module].value)})
    assert seen == []
    for _ in range(2):
        imported = importlib.import_module(module)
    assert seen == [1]
    assert "value = 1" in imported.__loader__.get_source(module)


def test_the_action_happens_at_once_where_the_module_is_there(module):
    importlib.import_module(module)
    seen = []
    after_import({module: lambda: seen.append(1)})
    assert seen == [1]


def test_asking_again_does_not_act_twice(module):
    seen = []
    actions = {module: seen.clear}
    before = len(sys.meta_path)
    for _ in range(3):
        after_import(actions)
    assert len(sys.meta_path) == before + 1


def test_a_module_that_is_not_there_is_still_not_there():
    finders = [*sys.meta_path]
    after_import({"no_module_of_this_name": pytest.fail})
    with pytest.raises(ModuleNotFoundError, match="no_module_of_this_name"):
        importlib.import_module("no_module_of_this_name")
    sys.meta_path[:] = finders


INSTALL = """
import sys
from detassign.compat import install
install()
print(sorted({"mmcv", "mmdet", "mmengine", "torchvision"} & set(sys.modules)))
import mmcv
print("mmcv._ext" in sys.modules, mmcv._ext is sys.modules["mmcv._ext"])
from mmengine.runner import checkpoint
print(checkpoint.load_url.__module__)
"""


def test_installing_imports_nothing_and_holds_for_what_is_imported_later():
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", INSTALL], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["[]", "True True", "detassign.compat.checkpoint"], done.stderr

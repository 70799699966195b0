"""Import every module of the package first, each in a process of its own; print [name, why] as JSON for each that fails.

Starting Python and importing torch and mmdet for each would take minutes. So they are imported once, with an empty
`mmcv._ext`, then mmdet and mmcv.ops are hidden, and every module is imported in a fork: there they come back at once, if and
only if `mmcv._ext` can be imported, as in a fresh process. A package is imported before its modules in any case, so modules are
forks of their package's fork.
"""

import gc
import importlib
import json
import os
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

STAND_IN = "mmcv._ext"


class Hidden(MetaPathFinder, Loader):
    """Gives imported modules back to those who can import the stand-in."""

    def __init__(self, modules):
        self.modules = modules

    def find_spec(self, name, path=None, target=None):
        if name not in self.modules:
            return None
        if name != "mmdet":  # the package itself needs no ops
            importlib.import_module(STAND_IN)
        return ModuleSpec(name, self, is_package=hasattr(self.modules[name], "__path__"))

    def create_module(self, spec):
        return self.modules[spec.name]

    def exec_module(self, module):
        pass


def import_third_parties():
    """Whatever detassign imports of others, with ops that are never called."""
    extension = ModuleType(STAND_IN)
    extension.__getattr__ = lambda name: None if name.startswith("__") else print
    extension.__spec__ = ModuleSpec(STAND_IN, None)
    sys.modules[STAND_IN] = extension
    for name in ("mmcv.ops", "mmdet.apis", "mmdet.datasets", "mmdet.engine", "mmdet.evaluation", "mmdet.models"):
        importlib.import_module(name)
    for name in ("torchvision", "matplotlib.pyplot", "rich.progress", "scipy.optimize", "torch.onnx"):
        importlib.import_module(name)


def hide():
    """As if nothing that needs the stand-in had been imported yet."""
    names = [name for name in sys.modules if name.partition(".")[0] == "mmdet" or name.startswith("mmcv.ops")]
    hidden = {name: sys.modules.pop(name) for name in names}
    del sys.modules[STAND_IN]
    sys.meta_path.insert(0, Hidden(hidden))


def report_failures(names, writer):
    """Import each in a fork, and from there the modules inside it; write a line of JSON for each that fails."""
    for name in [name for name in names if name.rpartition(".")[0] not in names]:
        child = os.fork()
        if child == 0:
            try:
                importlib.import_module(name)
            except BaseException as error:
                writer.write(json.dumps([name, f"{type(error).__name__}: {error}"]) + "\n")
            else:
                report_failures([inner for inner in names if inner.startswith(f"{name}.")], writer)
            writer.flush()
            os._exit(0)
        if status := os.waitpid(child, 0)[1]:
            writer.write(json.dumps([name, f"ended with status {status}"]) + "\n")
            writer.flush()


if __name__ == "__main__":
    import_third_parties()
    hide()
    gc.freeze()  # forks then share more of the memory
    assert not any(name.partition(".")[0] == "detassign" for name in sys.modules)
    report_failures(sys.argv[1:], sys.stdout)

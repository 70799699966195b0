"""Stand-in for ``mmcv._ext``, the compiled half of mmcv that ``mmcv-lite`` leaves out.

mmdet imports ``mmcv.ops`` wherever it goes, and that needs the extension. The module installed here serves the ops of
torchvision, torch and ``detassign.ops`` under mmcv's names; every other name exists, so that ``mmcv.ops`` imports, and
explains itself when called. It may go when mmcv publishes binaries for the torch releases in use.
"""

import importlib
import sys
import warnings
from collections.abc import Callable
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec
from types import ModuleType
from typing import NoReturn

from . import (
    mmcv_carafe,
    mmcv_deform_conv,
    mmcv_deform_roi_pool,
    mmcv_focal_loss,
    mmcv_info,
    mmcv_masked_conv,
    mmcv_ms_deform_attn,
    mmcv_nms,
    mmcv_roi_align,
    mmcv_roi_pool,
    mmcv_sync_bn,
)

__all__ = ["SERVED_OPS", "install_extension", "mmcv_flavour"]

NAME = "mmcv._ext"
OP_FILES = (
    mmcv_carafe,
    mmcv_deform_conv,
    mmcv_deform_roi_pool,
    mmcv_focal_loss,
    mmcv_info,
    mmcv_masked_conv,
    mmcv_ms_deform_attn,
    mmcv_nms,
    mmcv_roi_align,
    mmcv_roi_pool,
    mmcv_sync_bn,
)
SERVED_OPS: dict[str, Callable[..., object]] = {name: getattr(file, name) for file in OP_FILES for name in file.__all__}


def install_extension() -> None:
    """Make ``mmcv._ext`` importable: mmcv's own build where it loads, else the stand-in. Safe to call again.

    Warns when a compiled extension is present but does not load, and serves the stand-in instead.
    """
    if _real_extension_loads():
        return
    module = module_from_spec(ModuleSpec(NAME, _StandInLoader(), origin=__name__))
    module.__spec__.loader.exec_module(module)
    sys.modules[NAME] = module
    importlib.import_module("mmcv")._ext = module


def mmcv_flavour() -> str:
    """``"full"`` where mmcv's compiled ops load, ``"lite"`` where the stand-in of this module serves them."""
    install_extension()
    specification = sys.modules[NAME].__spec__
    return "lite" if isinstance(getattr(specification, "loader", None), _StandInLoader) else "full"


def _real_extension_loads() -> bool:
    """Whether some ``mmcv._ext`` imports; true also for a stand-in installed before."""
    try:
        importlib.import_module(NAME)
    except ModuleNotFoundError as error:
        if error.name != NAME:
            raise
        return False
    except (ImportError, OSError) as error:
        warnings.warn(f"mmcv's compiled ops do not load ({error}); torchvision's are used instead", stacklevel=3)
        return False
    return True


class _StandInLoader(Loader):
    """Fills the module, and lets ``pkgutil`` and ``importlib`` find it by its spec."""

    def exec_module(self, module: ModuleType) -> None:
        vars(module).update(
            SERVED_OPS,
            __doc__=__doc__,
            __getattr__=_explain_missing,
        )


def _explain_missing(name: str) -> Callable[..., NoReturn]:
    """The function for an op that is not served: it raises when called. Dunder names stay absent."""
    if name.startswith("__"):
        raise AttributeError(f"module {NAME!r} has no attribute {name!r}")

    def missing(*args: object, **kwargs: object) -> NoReturn:
        raise NotImplementedError(
            f"mmcv op {name!r} is not served under mmcv-lite; to use it, install a full mmcv built for this torch "
            "(uninstall mmcv-lite first)"
        )

    missing.__name__ = name
    return missing

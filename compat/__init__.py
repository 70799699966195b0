"""What mmdet 3.3 needs to run on mmcv-lite and today's torch.

Call ``install()`` before the first import of mmdet or ``mmcv.ops``; calling it again is harmless. Every package of detassign
whose modules import them does so.
"""

from .checkpoint import check_intact, install_safe_loading, is_state, safe_load
from .on_import import after_import

__all__ = ["check_intact", "install", "is_state", "mmcv_flavour", "safe_load"]


def install() -> None:
    """Serve mmcv's compiled ops where mmcv brings none, and let mmengine load its checkpoints safely.

    Takes effect when mmcv and mmengine are imported, now if they are; imports neither.
    """
    after_import({"mmcv": _serve_ops, "mmengine.runner.checkpoint": install_safe_loading})


def mmcv_flavour() -> str:
    """``"full"`` where mmcv's compiled ops load, ``"lite"`` where detassign serves them."""
    from . import mmcv_ext

    return mmcv_ext.mmcv_flavour()


def _serve_ops() -> None:
    from .mmcv_ext import install_extension  # imports torchvision

    install_extension()

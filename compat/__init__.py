"""What mmdet 3.3 needs to run on mmcv-lite and today's torch.

Call ``install()`` before the first import of mmdet or ``mmcv.ops``; calling it again is harmless.
"""

from .checkpoint import install_safe_loading, is_state, safe_load
from .mmcv_ext import install_extension, mmcv_flavour

__all__ = ["install", "is_state", "mmcv_flavour", "safe_load"]


def install() -> None:
    """Serve mmcv's compiled ops where mmcv brings none, and let mmengine load its checkpoints safely."""
    install_extension()
    install_safe_loading()

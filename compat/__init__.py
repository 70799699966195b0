"""What mmdet 3.3 needs to run on mmcv-lite and today's torch.

Call ``install()`` before the first import of mmdet or ``mmcv.ops``; calling it again is harmless. Every package of detassign
whose modules import them does so.
"""

from typing import TYPE_CHECKING, Any

from .on_import import after_import

if TYPE_CHECKING:
    from .checkpoint import check_intact, is_state, safe_load

__all__ = ["check_intact", "install", "is_state", "mmcv_flavour", "safe_load"]


def install() -> None:
    """Serve mmcv's compiled ops where mmcv brings none, and let mmengine load its checkpoints safely.

    Takes effect when mmcv and mmengine are imported, now if they are; imports neither. Within `torch.onnx.export` and
    `portable_ops()` mmcv's deformable convolutions are spelt out in plain operators, also those of a full mmcv.
    """
    after_import(
        {
            "mmcv": _serve_ops,
            "mmcv.ops.deform_conv": _serve_portable_convolutions,
            "mmcv.ops.modulated_deform_conv": _serve_portable_convolutions,
            "mmengine.runner.checkpoint": _load_safely,
        }
    )


def __getattr__(name: str) -> Any:
    """What reads checkpoints: it imports torch, for which `detassign --help` and `doctor` do not wait."""
    if name not in ("check_intact", "is_state", "safe_load"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import checkpoint

    return getattr(checkpoint, name)


def mmcv_flavour() -> str:
    """``"full"`` where mmcv's compiled ops load, ``"lite"`` where detassign serves them."""
    from . import mmcv_ext

    return mmcv_ext.mmcv_flavour()


def _load_safely() -> None:
    from .checkpoint import install_safe_loading  # imports torch

    install_safe_loading()


def _serve_ops() -> None:
    from .mmcv_ext import install_extension  # imports torchvision

    install_extension()


def _serve_portable_convolutions() -> None:
    from .mmcv_portable import serve_portable_convolutions

    serve_portable_convolutions()

"""What ``mmcv._ext`` says of its build, for environment reports."""

__all__ = ["get_compiler_version", "get_compiling_cuda_version"]


def get_compiler_version() -> str:
    """Nothing was compiled."""
    return "n/a (mmcv-lite, ops served by torchvision)"


def get_compiling_cuda_version() -> str:
    """As above."""
    return get_compiler_version()

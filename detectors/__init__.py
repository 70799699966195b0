"""Detectors: backbone, neck and head put together, on mmdet's base class."""

from ..compat import install as _install

_install()  # before mmdet is imported

from .convnext import ConvNeXt  # noqa: E402
from .dense import DenseDetector  # noqa: E402
from .extra import EXTRAS  # noqa: E402
from .mobilenet import MobileNetV2  # noqa: E402
from .preprocessor import Preprocessor  # noqa: E402
from .query import QueryDetector  # noqa: E402
from .resnet import FoldedResNet  # noqa: E402

__all__ = ["EXTRAS", "ConvNeXt", "DenseDetector", "FoldedResNet", "MobileNetV2", "Preprocessor", "QueryDetector"]

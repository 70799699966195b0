"""Training, evaluation and prediction: configs become objects and run on mmengine's loop."""

from ..compat import install as _install

_install()  # before mmdet is imported

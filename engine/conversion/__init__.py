"""Other projects' checkpoints in this project's names."""

from ...compat import install as _install

_install()  # COCO's names come from mmdet

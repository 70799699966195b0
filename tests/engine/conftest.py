"""mmdet stands on mmcv-lite in whichever order a test imports the two."""

from detassign.compat import install

install()

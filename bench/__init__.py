"""Benchmarks: assigners compared under equal conditions, with tables and a figure; ops beside their peers."""

from ..compat import install as _install

_install()  # before mmdet is imported

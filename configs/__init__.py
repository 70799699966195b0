"""Config fragments: detectors, datasets, schedules; and recipes, the papers' exact settings."""

from ..compat import install as _install

_install()  # fragments name mmdet's classes, which may be imported before any of ours

__all__: list[str] = []

"""Installed packages that bring parts of their own: those with an entry point in the group ``detassign.plugins``.

    [project.entry-points."detassign.plugins"]
    mine = "my_package.assigners"

They are loaded once, when a name is not known otherwise or everything is to be listed.
"""

from __future__ import annotations

import warnings
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from .registry import all_or_nothing

GROUP = "detassign.plugins"


class PluginWarning(UserWarning):
    """A plugin cannot be loaded."""


@cache
def load_plugins() -> None:
    """Import every plugin, once; one that fails is left out with a warning that names its distribution."""
    for plugin in entry_points(group=GROUP):
        _load(plugin)


def _load(plugin: EntryPoint) -> None:
    try:
        with all_or_nothing():
            plugin.load()
    except (Exception, SystemExit) as error:
        owner = f"{plugin.dist.name} {plugin.dist.version}" if plugin.dist else "an unknown distribution"
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        warnings.warn(
            f"plugin {plugin.name!r} of {owner} is left out, it cannot be loaded ({reason})",
            PluginWarning,
            stacklevel=2,
        )

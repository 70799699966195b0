"""The colours of pages, reports and the ground of pictures, in light and in dark."""

from __future__ import annotations

from collections.abc import Mapping

LIGHT = {
    "ground": "#ffffff",
    "raised": "#f2f4f7",
    "ink": "#16181d",
    "soft": "#4a505c",
    "edge": "#c3c8d0",
    "accent": "#0b57d0",
    "alarm": "#b3261e",
    "good": "#1b7a3d",
    "c0": "#0072b2",
    "c1": "#c44e00",
    "c2": "#00805c",
    "c3": "#b0478c",
    "c4": "#8a6d00",
    "c5": "#2b7fb8",
    "c6": "#882255",
    "c7": "#555555",
}
"""Paper, what lies on it, text and text that explains, frames; what is chosen, bad and good; and lines of charts, c0 to c7."""
DARK = {
    "ground": "#16181d",
    "raised": "#22252c",
    "ink": "#ffffff",
    "soft": "#c8ccd4",
    "edge": "#4a505c",
    "accent": "#8ab4f8",
    "alarm": "#ff8a80",
    "good": "#81c995",
    "c0": "#5cb0ee",
    "c1": "#ff9257",
    "c2": "#43cf9f",
    "c3": "#ea9fcb",
    "c4": "#e5c04b",
    "c5": "#9ad7ff",
    "c6": "#de86b5",
    "c7": "#bbbbbb",
}


def as_css() -> str:
    """Custom properties by these names: of the theme that `data-theme` names, else of the reader's own, light on paper."""
    light, dark = _properties("light", LIGHT), _properties("dark", DARK)
    return (
        f":root {{ {light} }}\n"
        f':root[data-theme="dark"] {{ {dark} }}\n'
        f"@media screen and (prefers-color-scheme: dark) {{ :root:not([data-theme]) {{ {dark} }} }}\n"
    )


def _properties(scheme: str, colors: Mapping[str, str]) -> str:
    return " ".join([f"color-scheme: {scheme};", *(f"--{name}: {color};" for name, color in colors.items())])

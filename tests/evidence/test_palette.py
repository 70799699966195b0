"""One palette for pages, reports and pictures: the same names in light and dark, and legible in both."""

import re
from pathlib import Path

import pytest
from matplotlib.colors import to_rgb

import detassign.evidence.pages as pages
from detassign.evidence.palette import DARK, LIGHT, as_css
from detassign.evidence.report.style import STYLE

MARKS = [f"c{index}" for index in range(8)]
WORDS = ["ink", "soft", "accent", "alarm", "good"]


def luminance(color):
    """WCAG 2's relative luminance."""
    red, green, blue = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first, second):
    low, high = sorted(luminance(color) + 0.05 for color in (first, second))
    return high / low


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_text_and_marks_stand_out_from_both_grounds(theme):
    """At least 4.5 to 1 for text and 3 to 1 for marks (WCAG 2, 1.4.3 and 1.4.11)."""
    for ground in (theme["ground"], theme["raised"]):
        assert all(contrast(theme[name], ground) >= 4.5 for name in WORDS)
        assert all(contrast(theme[name], ground) >= 3 for name in MARKS)


def test_both_themes_have_all_names_and_style_sheets_use_no_others():
    assert list(LIGHT) == list(DARK)
    sheets = STYLE, as_css() + (Path(pages.__file__).parent / "page.css").read_text(encoding="utf-8")
    for sheet in sheets:
        assert set(re.findall(r"var\(--(\w+)\)", sheet)) <= set(LIGHT)


def test_dark_is_what_the_page_or_the_reader_says_but_not_on_paper():
    css = as_css()
    assert css.count(f"--ground: {LIGHT['ground']};") == 1
    assert css.count(f"--ground: {DARK['ground']};") == 2
    assert "@media screen and (prefers-color-scheme: dark) { :root:not([data-theme])" in css
    assert ':root[data-theme="dark"]' in css

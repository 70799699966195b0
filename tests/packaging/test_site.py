"""What `make docs` relies on, without building it: every page is in the menu, every reference is to something that is there."""

import pydoc
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PAGES = sorted(path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md"))
REFERENCES = sorted(
    {
        name
        for page in (ROOT / "docs" / "reference").glob("*.md")
        for name in re.findall(r"^::: (\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    }
)


def menu(entry):
    """The pages of a menu, however deep."""
    if isinstance(entry, str):
        return [entry]
    children = entry.values() if isinstance(entry, dict) else entry
    return [page for child in children for page in menu(child)]


def test_every_page_is_in_the_menu_once():
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    assert sorted(menu(settings["nav"])) == PAGES


@pytest.mark.parametrize("name", REFERENCES)
def test_what_the_reference_shows_is_there_and_says_what_it_is(name):
    found = pydoc.locate(name)
    assert found is not None
    assert found.__doc__

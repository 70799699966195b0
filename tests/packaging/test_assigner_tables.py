"""docs/assigners.md names everything that is registered: a row for every whole part, a mention for every choice inside one."""

import re
from pathlib import Path

import pytest

from detassign.assigners import ASSIGNERS, BOX_LOSSES, BRANCHES, MATCHINGS, SCORES, WEIGHTINGS
from detassign.assigners.registry import EVERY
from detassign.detectors import EXTRAS  # noqa: F401 (which fills the registry)

TEXT = (Path(__file__).parents[2] / "docs" / "assigners.md").read_text()
TABLES = {
    "Matchings": MATCHINGS,
    "Weightings": WEIGHTINGS,
    "Score models": SCORES,
    "Box losses": BOX_LOSSES,
    "Second branches": BRANCHES,
    "Presets": ASSIGNERS,
}


def own(registry):
    """Names of the parts that detassign itself has; plugins and examples may have registered more."""
    return {name for name, entry in registry.items() if entry.__module__.startswith("detassign.")}


def rows(section):
    """The names in the first column of a section's tables, one or several a row."""
    body = TEXT.split(f"\n## {section}\n")[1].split("\n## ")[0]
    return [
        name for cell in re.findall(r"^\| (`[^|]*`) \|", body, re.MULTILINE) for name in re.findall(r"`(\w+)`", cell)
    ]


@pytest.mark.parametrize("section", TABLES)
def test_a_table_has_one_row_for_every_registered_name_and_no_other(section):
    assert sorted(rows(section)) == sorted(own(TABLES[section]))


@pytest.mark.parametrize("registry", [each for each in EVERY if each not in TABLES.values()], ids=lambda r: r.kind)
def test_every_choice_inside_a_part_is_mentioned_by_its_name(registry):
    assert own(registry)
    assert [name for name in own(registry) if f"`{name}`" not in TEXT] == []

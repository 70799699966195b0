"""Recipes of query detectors: their names, and the table that lists them."""

import re
from pathlib import Path

import pytest

from detassign.engine import fragments

TABLE = (Path(__file__).parents[2] / "docs" / "query_detectors.md").read_text(encoding="utf-8")


def is_query(detector):
    return detector is not None and "queries" in fragments.load("detectors", detector)["model"]


RECIPES = [name for name in fragments.names("recipes") if is_query(fragments.load("recipes", name).get("detector"))]


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_named_after_its_detector_and_epochs(name):
    """dino_4scale_r50_12e trains dino_4scale_r50 over twelve epochs."""
    recipe = fragments.load("recipes", name)
    schedule = fragments.load("schedules", recipe["schedule"])["schedule"]
    assert name == f"{recipe['detector']}_{schedule['epochs']}e"


@pytest.mark.parametrize("name", RECIPES)
def test_the_table_has_every_recipe_with_its_published_number(name):
    """What a recipe's docstring states and the table's entry are one number."""
    published = re.search(r"published as ([\d.]+(?: to [\d.]+)?) AP", fragments.names("recipes")[name])[1]
    detector, epochs = name.rsplit("_", 1)
    (row,) = re.findall(rf"^\| `{detector}` \|.*$", TABLE, re.MULTILINE)
    assert f"`_{epochs}` {published}" in row


def test_the_table_names_nothing_else():
    """Every row's endings are recipes."""
    rows = re.findall(r"^\| `(\w+)` \| [\d.]+ \| (.*) \|$", TABLE, re.MULTILINE)
    listed = {f"{detector}_{epochs}" for detector, ends in rows for epochs in re.findall(r"`_(\d+e)`", ends)}
    assert listed == set(RECIPES)

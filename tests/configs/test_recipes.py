"""Recipes of query detectors: their names, and the table that lists them."""

import re
from pathlib import Path

import pytest
import torch

from detassign.data import make_dataset, resolve
from detassign.engine import fragments
from detassign.engine.build import build_model
from detassign.engine.config import compose, read_recipe

TABLE = (Path(__file__).parents[2] / "docs" / "query_detectors.md").read_text(encoding="utf-8")

PUBLISHED = {
    "dac": (900, True, False),
    "ddq": (900, True, False),
}  # queries, whether denoised ones, whether heads are shared


def is_query(detector):
    return detector is not None and "queries" in fragments.load("detectors", detector)["model"]


RECIPES = [name for name in fragments.names("recipes") if is_query(fragments.load("recipes", name).get("detector"))]


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_named_after_its_scheme_its_detector_and_epochs(name):
    """dino_4scale_r50_12e trains dino_4scale_r50 over twelve epochs, align_dino_4scale_r50_12e the same under a scheme."""
    recipe = fragments.load("recipes", name)
    schedule = fragments.load("schedules", recipe["schedule"])["schedule"]
    assert name == "_".join([*filter(None, [recipe.get("scheme")]), recipe["detector"], f"{schedule['epochs']}e"])


@pytest.mark.parametrize("name", RECIPES)
def test_the_tables_have_every_recipe_with_its_published_number(name):
    """What a recipe's docstring states and its table's entry are one number."""
    published = re.search(r"published as ([\d.]+(?: to [\d.]+)?) AP", fragments.names("recipes")[name])[1]
    recipe, epochs = fragments.load("recipes", name), name.rsplit("_", 1)[1]
    first = f"`{recipe['scheme']}` \\| `{recipe['detector']}`" if "scheme" in recipe else f"`{recipe['detector']}`"
    (row,) = re.findall(rf"^\| {first} \|.*$", TABLE, re.MULTILINE)
    assert f"`_{epochs}` {published}" in row


def test_the_tables_name_nothing_else():
    """Every row's endings are recipes."""
    plain = re.findall(r"^\| `(\w+)` \| [\d.]+ \| (.*) \|$", TABLE, re.MULTILINE)
    schemes = re.findall(r"^\| `(\w+)` \| `(\w+)` \| (.*) \|$", TABLE, re.MULTILINE)
    rows = [*plain, *((f"{scheme}_{detector}", ends) for scheme, detector, ends in schemes)]
    listed = {f"{detector}_{epochs}" for detector, ends in rows for epochs in re.findall(r"`_(\d+e)`", ends)}
    assert listed == set(RECIPES)


@pytest.mark.parametrize("name", [name for name in RECIPES if "scheme" in fragments.load("recipes", name)])
def test_a_recipe_of_a_scheme_builds_what_it_says(name, tmp_path):
    """The whole model, on the meta device, with all that training adds."""
    recipe = read_recipe(name)
    make_dataset(tmp_path / "shapes", images=2, size=64)
    config = compose(
        recipe["detector"],
        None,
        resolve(tmp_path / "shapes"),
        recipe["schedule"],
        recipe["changes"],
        recipe.get("denoising"),
        scheme=recipe["scheme"],
    )
    with torch.device("meta"):
        model = build_model(config, initialise=False)
    assert set(config["model"].get("extra") or {}) == set(model.extra)
    queries, denoises, shared = PUBLISHED.get(recipe["scheme"], (None, None, None))
    assert queries in (None, model.queries.num_queries)
    assert denoises in (None, model.denoising is not None)
    assert shared in (None, len(model.bbox_head.boxes) == 1)

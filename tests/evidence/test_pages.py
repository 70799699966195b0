"""A page holds what the inspection holds, needs nothing else, and draws itself without a complaint."""

import base64
import io
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
import torch
from PIL import Image

from detassign.assigners import SigmoidObjectness, Targets, build
from detassign.evidence.inspection.points import inspect
from detassign.evidence.inspection.scene import Scene
from detassign.evidence.inspection.simulation import simulate
from detassign.evidence.inspection.subjects import translate
from detassign.evidence.pages.content import MOST, content_of
from detassign.evidence.pages.page import page

SHAPE, STRIDES = (64, 96), (8, 16, 32)
BOXES, LABELS = torch.tensor([[4.0, 4, 60, 60], [30, 10, 40, 18], [70, 20, 94, 60]]), torch.tensor([0, 0, 2])
NAMES = ("</script><script>throw 1</script>", "<b onclick=x>&amp;", "@@data@@")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def inspections():
    targets = Targets.from_lists([BOXES], [LABELS])
    simulated = simulate(targets, SHAPE, STRIDES, len(NAMES))
    assigners = {name: build(name, len(NAMES)) for name in ("atss", "dw")}
    return [
        inspect(name, assigner, translate(simulated, SigmoidObjectness(), assigner.score), targets)
        for name, assigner in assigners.items()
    ]


@pytest.fixture(scope="module")
def scene():
    crowd = Targets.from_lists([BOXES], [LABELS], [torch.tensor([[0.0, 0, 20, 20]])])
    return Scene("<i>noise</i>.png", 3, np.full((*SHAPE, 3), (200, 100, 50), np.uint8), crowd, NAMES, {})


@pytest.fixture(scope="module")
def content(scene, inspections):
    return content_of(scene, inspections, "val image 3 <u>")


def test_maps_are_the_inspections_cells(content, inspections):
    for view, inspection in zip(content["views"], inspections, strict=True):
        for shown in view["maps"]:
            level = inspection.strides.index(shown["stride"])
            for name, background in (("positive", 0.0), ("negative", 1.0), ("box", 0.0)):
                expected = getattr(inspection, name)[level]
                assert shown["columns"] == expected.shape[1]
                cells = np.full(expected.size, background)
                for cell, value in shown[name]:
                    cells[cell] = value
                np.testing.assert_allclose(cells.reshape(expected.shape), expected, rtol=1e-4, atol=5e-3)


def test_samples_are_the_inspections_pairs(content, inspections):
    for view, inspection in zip(content["views"], inspections, strict=True):
        for index, shown in enumerate(view["objects"]):
            assert shown["count"] == len(inspection.samples.of(index))
            assert len(shown["samples"]) == min(shown["count"], MOST)
            for row, pair in zip(shown["samples"], inspection.samples.of(index), strict=False):
                assert row["sample"] == inspection.samples.sample[pair]
                for name in ("positive", "negative", "box", "score", "iou"):
                    assert row[name] == pytest.approx(float(getattr(inspection.samples, name)[pair]), rel=1e-4)
                assert row["predicted"] == pytest.approx(inspection.samples.predicted[pair].tolist(), rel=1e-4)


def test_scales_are_the_same_for_all_views_and_levels_without_anything_are_named(content, inspections):
    assert [weight["top"] for weight in content["weights"]][1] == 2
    assert content["weights"][0]["top"] == pytest.approx(max(each.typical[0] for each in inspections))
    assert sorted(content["strides"] + content["folded"]) == list(STRIDES)


def test_the_image_is_inside(content):
    kind, _, data = content["image"].partition(",")
    assert kind == "data:image/jpeg;base64"
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    assert image.shape == (*SHAPE, 3)
    assert np.abs(image.astype(int) - (200, 100, 50)).max() < 6


def test_names_are_data_and_never_markup(content):
    text = page(content)
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1]
    assert json.loads(data)["classes"] == list(NAMES)
    assert "<" not in data
    assert "<title>&lt;i&gt;noise&lt;/i&gt;.png</title>" in text
    assert text.count("</script>") == 2


def test_a_theme_is_the_readers_unless_it_is_named(content):
    assert '<html lang="en">' in page(content)
    assert '<html lang="en" data-theme="dark">' in page(content, "dark")


def test_nothing_to_show_is_refused(scene):
    with pytest.raises(ValueError, match="expected at least one"):
        content_of(scene, [], "")


@pytest.mark.skipif(BROWSER is None, reason="there is no browser to open the page in")
def test_a_browser_draws_it_without_a_complaint(content, tmp_path):
    file = tmp_path / "page.html"
    file.write_text(page(content), encoding="utf-8")
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--enable-logging=stderr")
    command = [BROWSER, *options, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", file.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120)
    body = shown.stdout[shown.stdout.index("<main") :]
    assert "CONSOLE" not in shown.stderr
    assert body.count('class="photo"') == 2
    rows = sum(len(view["objects"][0]["samples"]) for view in content["views"])
    assert body.count("<tr tabindex") == rows
    assert "<b onclick" not in body
    assert "</script><script>throw" not in body

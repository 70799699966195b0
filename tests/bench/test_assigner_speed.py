"""The assigners' speed benchmark: equal work on all sides, and its command; no times."""

import json

import pytest
import torch

from detassign.assigners import ASSIGNERS
from detassign.bench import assigner_speed
from detassign.bench.assigner_speed import Case, contenders, dense_predictions, make_targets, prepare
from detassign.bench.dense_forms import DENSE_FORMS
from detassign.bench.mmdet_heads import MMDET_HEADS, loss_of
from detassign.cli import main


@pytest.fixture
def small(monkeypatch):
    """A small image and few queries."""
    for name, value in {"SHAPE": (128, 160), "CLASSES": 5, "QUERIES": 40, "LAYERS": 2, "WEIGHED": ()}.items():
        monkeypatch.setattr(assigner_speed, name, value)


def test_the_full_size_is_that_of_an_image_of_800_by_1333():
    predictions = dense_predictions(make_targets(1))
    assert predictions.logits.shape == (2, 22400, 80)


@pytest.mark.parametrize("name", list(ASSIGNERS))
def test_every_assigner_takes_a_step(small, name):
    assert prepare(Case(name, 3, "detassign"))().isfinite()


@pytest.mark.parametrize("name", list(MMDET_HEADS))
@pytest.mark.filterwarnings("ignore")
def test_every_head_of_mmdet_takes_a_step(small, name):
    if name == "paa_mmdet":
        pytest.importorskip(
            "sklearn", reason="scikit-learn, which mmdet's PAA head fits mixtures with, is not installed"
        )
    targets = make_targets(3)
    assert loss_of(name, dense_predictions(targets), targets, assigner_speed.SHAPE)().isfinite()


@pytest.mark.parametrize("name", [name for name in DENSE_FORMS if name in ASSIGNERS])
def test_the_dense_form_takes_a_step(small, name):
    assert prepare(Case(name, 12, "dense form"))().isfinite()


@pytest.mark.parametrize("objects", [1, 30])
def test_the_dense_form_of_dw_has_the_loss_of_its_sparse_form(small, objects):
    ours, dense = (prepare(Case("dw_original", objects, side))() for side in ("detassign", "dense form"))
    torch.testing.assert_close(ours, dense, rtol=1e-6, atol=1e-6)


def test_every_assigner_is_a_contender_with_its_peers():
    sides = contenders()
    assert set(sides) == set(ASSIGNERS)
    assert sides["atss"] == ["detassign", "mmdet"]
    assert sides["dw"] == ["detassign", "dense form"]
    assert contenders(["detr"]) == {"detr": ["detassign"]}


def test_the_command_writes_rows_for_every_side_count_and_number_of_threads(small, tmp_path, capfd):
    out = tmp_path / "speed.json"
    command = ["bench", "assigners", "--speed", "--assigners", "dw,detr", "--objects", "2", "--threads", "1"]
    with pytest.raises(SystemExit) as stopped:
        main([*command, "--repeats", "1", "--out", str(out)])
    assert stopped.value.code == 0
    rows = json.loads(out.read_text())["rows"]
    sides = [("dw", "detassign"), ("dw", "dense form"), ("detr", "detassign")]
    assert [(row["assigner"], row["side"]) for row in rows] == sides
    assert all(row["seconds"] > 0 and row["objects"] == 2 and row["threads"] == 1 for row in rows)
    assert "dense form" in capfd.readouterr().out


@pytest.mark.parametrize(("option", "value"), [("--objects", "0"), ("--threads", "two")])
def test_numbers_are_whole(option, value, capsys):
    with pytest.raises(SystemExit):
        main(["bench", "assigners", "--speed", option, value])
    assert f"expected whole numbers of at least 1, got '{value}'" in capsys.readouterr().err

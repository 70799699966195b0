"""A set trains and tests to the same numbers in whatever form it lies on disk."""

import json

import numpy as np
import pytest
import torch

from detassign.data import check, make_dataset, resolve
from detassign.data.division import divided
from detassign.data.forms import FORMS, find
from detassign.data.parts import part_of, together, write_parts
from detassign.engine.config import compose, source_of, validate
from detassign.engine.files import sha256_of_split
from detassign.engine.train import evaluate, find_run, train


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Generated pictures as train, val and test in every form; boxes with odd decimals, so that rounding would show."""
    folder, rng = tmp_path_factory.mktemp("forms"), np.random.default_rng(0)
    make_dataset(folder / "shapes", images=14, size=64)
    for split in ("train", "val"):
        content = json.loads((folder / "shapes" / f"{split}.json").read_text())
        for entry in content["annotations"]:
            x, y, width, height = entry["bbox"]
            less = rng.uniform(0, 0.4, 2)
            entry["bbox"] = [x, y, round(width - less[0], 2), round(height - less[1], 3)]
            entry["area"] = entry["bbox"][2] * entry["bbox"][3]
        (folder / "shapes" / f"{split}.json").write_text(json.dumps(content))
    parts = divided(together(part_of(place) for place in find(folder / "shapes").values()), 0.2, 0.2)
    for form in FORMS:
        write_parts(parts, form, folder / form)
    return folder


@pytest.fixture(scope="module")
def runs(sets, tmp_path_factory):
    """The folder of a run on each form."""
    folder = tmp_path_factory.mktemp("runs")
    for form in FORMS:
        changes = {"input.scale": (64, 64), "model.head.stacked_convs": 1}
        config = compose("fcos_tiny", "dw", resolve(sets / form), changes=changes, epochs=2, batch_size=4)
        train(config, folder / form, quiet=True)
    return folder


def numbers(run):
    """Losses of steps and metrics of epochs, without times."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    timed = ("time", "seconds", "memory", "second", "share")
    return [{key: value for key, value in line.items() if not any(word in key for word in timed)} for line in lines]


def test_every_form_trains_to_the_same_numbers(runs):
    first, *others = (numbers(runs / form) for form in FORMS)
    assert any("AP" in line for line in first)
    assert any(any("loss" in key for key in line) for line in first)
    assert others == [first] * len(others)
    states = [torch.load(runs / form / "epoch_2.pth", weights_only=False)["state_dict"] for form in FORMS]
    assert all(torch.equal(state[name], states[0][name]) for state in states for name in states[0])


def test_a_run_finds_its_data_again_and_tests_its_third_split(runs, sets):
    found = []
    for form in FORMS:
        config, checkpoint = find_run(runs / form)
        validate(config, form)
        assert config["data"].get("form", "coco") == form
        assert source_of(config) == resolve(sets / form)
        found.append(str(evaluate(config, checkpoint, "test")))
        assert str(evaluate(config, checkpoint, "val")) == str(evaluate(config, checkpoint))
    assert found[1:] == found[:1] * 2
    assert check(sets / "coco").statistics["test"]["boxes"] > 0


def test_a_fingerprint_is_that_of_every_file_and_of_no_place(sets, tmp_path):
    for form in FORMS:
        (sets / form).rename(tmp_path / form)
        moved = sha256_of_split(resolve(tmp_path / form).place("train"))
        (tmp_path / form).rename(sets / form)
        assert sha256_of_split(resolve(sets / form).place("train")) == moved
        assert sha256_of_split(resolve(sets / form).place("val")) != moved or form == "voc"
    label = next(iter(sorted((sets / "yolo" / "labels" / "train").iterdir())))
    before, text = sha256_of_split(resolve(sets / "yolo").place("train")), label.read_text()
    label.write_text(text + "\n")
    assert sha256_of_split(resolve(sets / "yolo").place("train")) != before
    label.write_text(text)


def test_a_config_of_an_unknown_form_is_refused(runs):
    config, _ = find_run(runs / "yolo")
    config["data"]["form"] = "yolo5"
    with pytest.raises(ValueError, match=r"unknown data\.form 'yolo5'"):
        validate(config, "mine.json")

"""train, evaluate and compare as calls."""

import json

import pytest

import detassign
from detassign.data.files import json_text
from detassign.data.report import DataWarning


@pytest.fixture(scope="module")
def run(tiny_run, tmp_path_factory):
    """Trained by a call: another epoch of fcos_tiny on six images, under another assigner."""
    folder = tmp_path_factory.mktemp("called") / "run"
    settings = {"input.scale": (96, 96), "input.workers": 0}
    options = {"detector": "fcos_tiny", "assigner": "atss", "epochs": 1, "batch_size": 2, "settings": settings}
    data = json.loads((tiny_run / "config.json").read_text())["data"]["val_images"].removesuffix("/images")
    return detassign.train(work_dir=str(folder), data=data, quiet=True, **options)


def test_a_call_trains_as_its_options_say(run):
    config = json.loads((run.folder / "config.json").read_text())
    assert config["input"]["scale"] == [96, 96]
    assert config["schedule"]["batch_size"] == 2
    assert run.summary == json.loads((run.folder / "summary.json").read_text())
    assert 0 <= run.metrics["AP"] <= 1


def test_a_run_that_is_to_go_on_has_a_folder():
    with pytest.raises(ValueError, match="--resume: name the run's folder"):
        detassign.train(resume=True)


def test_an_option_that_is_none_is_named():
    with pytest.raises(ValueError, match="unknown config key 'batch'"):
        detassign.train(detector="fcos_tiny", images=4, data="synthetic", batch=3)


def test_what_a_run_said_is_measured_again(run):
    found = detassign.evaluate(run.folder, checkpoint="last")
    assert found.metrics["AP"] == pytest.approx(run.metrics["AP"], abs=1e-6)
    assert (found.split, found.checkpoint.path.name) == ("val", "epoch_1.pth")


def test_what_differs_between_two_runs_is_told(run, tiny_run):
    found = detassign.compare(tiny_run, str(run.folder))
    keys = {key for key in found.config if key.startswith("model.head.assigner")}
    assert keys
    written = found.to_dict()
    assert (written["a"], written["b"]) == (str(tiny_run), str(run.folder))
    assert written["rows"][0]["measures"]["AP"]["b"] == pytest.approx(run.metrics["AP"])


def test_what_is_wrong_with_data_is_a_warning(run, tmp_path):
    config = json.loads((run.folder / "config.json").read_text())
    images = config["data"]["val_images"]
    (tmp_path / "images").symlink_to(images)
    for split in ("train", "val"):
        document = json.loads((tmp_path / images).parent.joinpath(f"{split}.json").read_text())
        document["annotations"][0]["bbox"] = [1, 1, 0.5, 9]
        (tmp_path / f"{split}.json").write_text(json.dumps(document))
    with pytest.warns(DataWarning, match=r"val\.json: boxes are thinner than a pixel"):
        detassign.evaluate(run.folder, data=tmp_path)
    with pytest.raises(ValueError, match="limit: expected a whole number of at least 1, got 0"):
        detassign.evaluate(run.folder, limit=0)


def test_an_image_is_inspected_as_the_command_does(run, tmp_path, capsys):
    from detassign.cli import main

    data = json.loads((run.folder / "config.json").read_text())["data"]["val_images"].removesuffix("/images")
    found = detassign.inspect(1, data=data, assigners=["atss", "dw(top_k=5)"])
    written = tmp_path / "written.json"
    words = ("--image", "1", "--data", data, "--assigners", "atss,dw(top_k=5)", "--json", str(written))
    with pytest.raises(SystemExit) as ended:
        main(["inspect", *words, "--out", str(tmp_path / "one.png")])
    assert ended.value.code == 0
    assert json.loads(json_text(found.to_dict())) == json.loads(written.read_text())
    assert found.save(tmp_path / "two.png").read_bytes() == (tmp_path / "one.png").read_bytes()
    assert b"<html" in found.save(tmp_path / "page.html").read_bytes()
    with pytest.raises(ValueError, match="expected a name that ends in"):
        found.save(tmp_path / "two.gif")

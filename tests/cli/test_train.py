"""train, test and config on the command line."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from support.command import run

from detassign.compat import safe_load
from detassign.data import make_dataset
from detassign.engine.conversion.classes import COCO_CLASSES, COCO_IDS
from detassign.engine.notes import Note


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "shapes"
    make_dataset(folder, images=8, size=64)
    return folder


def strict_json(text):
    """Parsed as the standard says: without NaN and Infinity."""
    return json.loads(text, parse_constant=pytest.fail)


SMALL = ("--detector", "fcos_tiny", "--epochs", 1, "--batch-size", 4, "--set", "input.scale=(64, 64)", "--quiet")
SMALL += ("--set", "model.post_process.score_threshold=0.0")  # after a step nothing scores high


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "dw"
    assert run("train", "--data", data, "--assigner", "dw", "--work-dir", folder, *SMALL) == 0
    return folder


def test_train_prints_its_folder_and_scores(data, tmp_path, capsys):
    assert run("train", "--data", data, "--assigner", "atss", "--work-dir", tmp_path / "r", *SMALL) == 0
    shown = capsys.readouterr().out
    assert str(tmp_path / "r") in shown
    assert "AP50" in shown


def test_test_prints_json_of_the_same_metrics_as_the_summary(trained, capsys):
    assert run("test", trained, "--json") == 0
    metrics, trained_to = strict_json(capsys.readouterr().out), strict_json((trained / "summary.json").read_text())
    classes = trained_to["metrics"].pop("classes")
    assert metrics.pop("classes") == pytest.approx(classes, abs=2e-5)
    assert classes
    assert metrics == pytest.approx(trained_to["metrics"])
    assert metrics["APl"] is None  # the pictures are too small for large objects


def test_a_runs_config_alone_repeats_it(trained, tmp_path):
    assert run("train", trained / "config.json", "--work-dir", tmp_path / "again", "--quiet") == 0
    first, again = (json.loads((f / "summary.json").read_text())["metrics"] for f in (trained, tmp_path / "again"))
    assert first == again


def test_resume_of_a_finished_run_changes_nothing(trained, capsys):
    before = (trained / "metrics.jsonl").read_text()
    assert run("train", "--work-dir", trained, "--resume", "--quiet", "--no-table") == 0
    assert capsys.readouterr().out == ""
    assert (trained / "metrics.jsonl").read_text() == before


def test_config_prints_what_train_would_run(data, capsys):
    assert run("config", "--data", data, "--assigner", "dw", "--seed", 3, "--set", "model.head.stacked_convs=1") == 0
    config = json.loads(capsys.readouterr().out)
    assert config["seed"] == 3
    assert config["model"]["head"]["stacked_convs"] == 1
    assert config["model"]["head"]["assigner"] == {"type": "dw"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--assigner", "dww"], "unknown assigner 'dww'; did you mean 'dw'?"),
        (["--data", "bcd"], "bcd"),
        (["--set", "schedule.epohs=1"], "did you mean 'schedule.epochs'?"),
        (["--set", "nothing"], "expected key=value"),
        (["--assigner", "center_prior+focal+objectness"], "unknown score model 'objectness'"),
        (["--pretrained", "nowhere.pth"], "nowhere.pth"),
        (["--init", "nowhere.pth"], "checkpoint 'nowhere.pth' does not exist"),
        (["--device", "cuda:99"], "device"),
        (["no_such_recipe"], "unknown recipe 'no_such_recipe'"),
        (["--ema", "dw_r50_1x"], "got 'dw_r50_1x'; --ema without one comes last"),
    ],
)
def test_a_mistake_is_one_sentence_and_a_non_zero_exit(data, tmp_path, capsys, arguments, sentence):
    given = [] if "--data" in arguments else ["--data", data]
    assert run("train", *given, *arguments, "--work-dir", tmp_path / "r", "--quiet") != 0
    shown = capsys.readouterr().err
    assert sentence in shown
    assert "Traceback" not in shown


def test_broken_data_is_refused_before_training(data, tmp_path, capsys):
    document = json.loads((data / "train.json").read_text())
    document["annotations"] = []
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "train.json").write_text(json.dumps(document))
    (broken / "val.json").write_text((data / "val.json").read_text())
    (broken / "images").symlink_to(data / "images")
    assert run("train", "--data", broken, "--work-dir", tmp_path / "r") == 1
    assert "detassign data check" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


def test_a_checkpoint_of_another_model_is_refused(trained, data, tmp_path, capsys):
    assert run("train", "--data", data, "--assigner", "gfl", "--work-dir", tmp_path / "gfl", *SMALL) == 0
    assert run("test", trained, "--checkpoint", tmp_path / "gfl" / "epoch_1.pth") == 1
    assert "a checkpoint of another model" in capsys.readouterr().err


def test_an_unreadable_image_is_named(data, tmp_path, capsys):
    broken = tmp_path / "broken"
    (broken / "images").mkdir(parents=True)
    for split in ("train", "val"):
        (broken / f"{split}.json").write_text((data / f"{split}.json").read_text())
    for image in (data / "images").iterdir():
        (broken / "images" / image.name).write_bytes(image.read_bytes())
    victim = broken / "images" / "train_000002.jpg"
    victim.write_bytes(b"not a picture")
    assert run("train", "--data", broken, "--work-dir", tmp_path / "r", *SMALL) == 1
    assert "train_000002.jpg" in capsys.readouterr().err


def crowd(path, categories=None):
    """The text of an annotation file with 120 objects in its first image."""
    document = json.loads(path.read_text())
    one = {**document["annotations"][0], **({"category_id": categories[0]["id"]} if categories else {})}
    document["annotations"] = [{**one, "id": i, "bbox": [i % 50, i // 50, 8, 8]} for i in range(1, 121)]
    return json.dumps({**document, **({"categories": categories} if categories else {})})


def limits(config):
    return config["evaluation"]["max_detections"], config["model"]["post_process"]


@pytest.mark.parametrize("detector", ["fcos_tiny", "dino_r18_tiny", "dino_4scale_r50"])
def test_a_crowded_set_gets_room_for_its_objects(data, tmp_path, capsys, detector):
    """Every limit on the way is raised where it is lower, and none is lowered; a limit that is given stays."""
    crowded = tmp_path / "crowded"
    crowded.mkdir()
    (crowded / "val.json").write_text(crowd(data / "val.json"))
    (crowded / "train.json").write_text((data / "train.json").read_text())
    (crowded / "images").symlink_to(data / "images")
    assert run("config", "--data", crowded, "--detector", detector) == 0
    counted, settings = limits(json.loads(capsys.readouterr().out))
    assert (counted, settings["max_per_image"]) == (300, 300)
    assert settings["per_level"] == (1000 if detector == "fcos_tiny" else 300)
    assert run("config", "--data", crowded, "--detector", detector, "--set", "evaluation.max_detections=120") == 0
    assert limits(json.loads(capsys.readouterr().out))[0] == 120


def test_coco_is_measured_at_a_hundred_detections_however_crowded(data, tmp_path, capsys):
    """So that AP compares with what was published; DINO's own limit of 300 stays too."""
    categories = [{"id": number, "name": name} for number, name in zip(COCO_IDS, COCO_CLASSES, strict=True)]
    (tmp_path / "annotations").mkdir()
    for split in ("train", "val"):
        text = crowd(data / f"{split}.json", categories)
        (tmp_path / "annotations" / f"instances_{split}2017.json").write_text(text)
        (tmp_path / f"{split}2017").symlink_to(data / "images")
    assert run("config", "dino_4scale_r50_12e", "--data-root", tmp_path) == 0
    counted, settings = limits(json.loads(capsys.readouterr().out))
    assert (counted, settings["per_level"], settings["max_per_image"]) == (100, 300, 300)


def test_a_runs_config_trains_on_other_data_of_as_many_classes(trained, tmp_path, capsys):
    make_dataset(tmp_path / "other", images=4, size=64)
    options = ("--work-dir", tmp_path / "moved", "--quiet")
    assert run("train", trained / "config.json", "--data", tmp_path / "other", *options) == 0
    config = json.loads((tmp_path / "moved" / "config.json").read_text())
    assert config["data"]["train_images"].startswith(str(tmp_path / "other"))
    assert run("train", trained / "config.json", "--images", 9, *options) == 1
    assert "--images: belongs to --data synthetic" in capsys.readouterr().err
    assert run("train", trained / "config.json", "--data", tmp_path / "nowhere", *options) == 1


def test_a_runs_config_is_for_as_many_classes_as_it_was_made_for(trained, tmp_path, capsys):
    folder = tmp_path / "fewer"
    make_dataset(folder, images=4, size=64)
    for split in ("train", "val"):
        content = json.loads((folder / f"{split}.json").read_text())
        content["categories"] = [category for category in content["categories"] if category["id"] == 1]
        content["annotations"] = [box for box in content["annotations"] if box["category_id"] == 1]
        (folder / f"{split}.json").write_text(json.dumps(content))
    assert run("train", trained / "config.json", "--data", folder, "--work-dir", tmp_path / "r") == 1
    assert "has 1 class, " in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


def test_data_that_a_config_names_is_checked_too(trained, tmp_path, capsys):
    """A config from elsewhere must not read what lies outside its folders."""
    config = json.loads((trained / "config.json").read_text())
    content = json.loads(Path(config["data"]["train_annotations"]).read_text())
    content["images"][0]["file_name"] = "../../secret.png"
    (tmp_path / "train.json").write_text(json.dumps(content))
    config["data"]["train_annotations"] = str(tmp_path / "train.json")
    (tmp_path / "hostile.json").write_text(json.dumps(config))
    assert run("train", tmp_path / "hostile.json", "--work-dir", tmp_path / "r") == 1
    assert "secret.png" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda config: config.update(model=3), "model is 3; expected a dict with its settings"),
        (lambda config: config["data"].pop("classes"), "data.classes is missing"),
        (lambda config: config["data"].update(more=1), "data.more is unknown"),
        (lambda config: config["data"]["classes"].pop(), "must be lists of the same length"),
        (lambda config: config["model"]["head"].update(num_classes=9), "model.head.num_classes is 9, and the data has"),
    ],
)
def test_a_config_that_no_run_wrote_is_refused(trained, tmp_path, capsys, change, sentence):
    config = json.loads((trained / "config.json").read_text())
    change(config)
    (tmp_path / "odd.json").write_text(json.dumps(config))
    assert run("train", tmp_path / "odd.json", "--work-dir", tmp_path / "r") == 1
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


def test_resume_needs_a_run_and_keeps_to_its_config(trained, tmp_path, capsys):
    """A mistyped folder does not start another training, and options that change the run are not dropped in silence."""
    assert run("train", "--work-dir", tmp_path / "typo", "--resume") == 1
    assert "typo holds no run; a new one starts without --resume" in capsys.readouterr().err
    assert not (tmp_path / "typo").exists()
    assert run("train", "--resume") == 1
    assert "--resume: name the run's folder with --work-dir" in capsys.readouterr().err
    assert run("train", "--work-dir", trained, "--resume", "--seed", 3) == 1
    assert "a run of another config: seed is 0 there and 3 here; --resume takes other epochs" in capsys.readouterr().err


@pytest.mark.parametrize("optimizer", ["RMSprop", "NAdam"])
def test_optimizers_that_are_not_fused_train_too(data, tmp_path, optimizer):
    options = ("--set", f"schedule.optimizer={{'type': '{optimizer}', 'lr': 1e-4}}")
    assert run("train", "--data", data, "--work-dir", tmp_path / "r", *SMALL, *options) == 0


def moved(trained, data, to):
    """The run and its data where nobody has told of."""
    shutil.copytree(trained, to / "run")
    shutil.copytree(data, to / "data")
    config = json.loads((to / "run" / "config.json").read_text())
    gone = {key: value.replace(str(data), str(to / "gone")) if isinstance(value, str) else value
            for key, value in config["data"].items()}  # fmt: skip
    (to / "run" / "config.json").write_text(json.dumps({**config, "data": gone}))
    return to / "run", to / "data"


def test_the_last_line_names_the_best_epoch(data, tmp_path, capsys):
    assert run("train", "--data", data, "--work-dir", tmp_path / "r", *SMALL) == 0
    summary = json.loads((tmp_path / "r" / "summary.json").read_text())
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"run folder: {tmp_path / 'r'}, best epoch 1 (AP {100 * summary['best']['AP']:.1f}) in best.pth"


def test_test_says_which_checkpoint_it_took(trained, capsys):
    for options, name in (((), "best.pth, epoch 1"), (("--checkpoint", "last"), "epoch_1.pth, epoch 1")):
        assert run("test", trained, *options) == 0
        assert f"checkpoint: {trained / name}\n" in capsys.readouterr().err
    assert run("test", trained / "epoch_1.pth", "--json") == 0
    said = capsys.readouterr()
    assert f"checkpoint: {trained / 'epoch_1.pth'}\n" in said.err
    assert set(json.loads(said.out.replace("NaN", "null"))) >= {"AP", "AP50"}


def test_data_named_from_here_is_found_from_elsewhere(data, tmp_path, monkeypatch, capsys):
    shutil.copytree(data, tmp_path / "few")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    assert run("train", "--data", "few", "--work-dir", "r", *SMALL) == 0
    monkeypatch.chdir(tmp_path / "elsewhere")
    capsys.readouterr()
    assert run("test", "../r", "--json") == 0
    measured = json.loads(capsys.readouterr().out.replace("NaN", "null"))
    assert measured["AP"] == json.loads((tmp_path / "r" / "summary.json").read_text())["metrics"]["AP"]
    assert run("train", "--work-dir", "../r", "--resume", "--quiet", "--no-table") == 0


def test_moved_data_is_asked_for_and_told(trained, data, tmp_path, capsys):
    folder, place = moved(trained, data, tmp_path)
    assert run("test", folder) == 1
    assert "gone/val.json does not exist; say where the data set is now with --data" in capsys.readouterr().err
    assert run("train", "--work-dir", folder, "--resume", "--quiet") == 1
    assert "train.json does not exist; say where the data set is now with --data" in capsys.readouterr().err
    assert run("test", folder, "--data", place, "--json") == 0
    metrics = json.loads(capsys.readouterr().out.replace("NaN", "null"))
    assert metrics["AP"] == json.loads((trained / "summary.json").read_text())["metrics"]["AP"]
    assert run("test", folder, "--data-root", place, "--json") == 0
    assert json.loads(capsys.readouterr().out)["AP"] == metrics["AP"]
    assert run("train", "--work-dir", folder, "--resume", "--data", place, "--quiet", "--no-table") == 0
    config = json.loads((folder / "config.json").read_text())
    assert config["data"]["train_annotations"] == str(place / "train.json")
    assert run("test", folder) == 0


def with_categories(data, to, change):
    """A copy of the data set with other categories, their objects and files the same."""
    shutil.copytree(data, to)
    for split in ("train", "val"):
        document = json.loads((to / f"{split}.json").read_text())
        change(document)
        (to / f"{split}.json").write_text(json.dumps(document))
    return to


def turn_around(document):
    ids = [category["id"] for category in document["categories"]]
    new = dict(zip(ids, ids[::-1], strict=True))
    for category in document["categories"]:
        category["id"] = new[category["id"]]
    for annotation in document["annotations"]:
        annotation["category_id"] = new[annotation["category_id"]]


def rename(document):
    document["categories"][0]["name"] = "newt"


@pytest.fixture
def measured(tmp_path):
    """What `test` measures: every detection with the name of its class."""

    def measure(folder, where, *options):
        assert run("test", folder, *options, "--out", tmp_path / "report") == 0
        detections = json.loads((tmp_path / "report" / "detections.json").read_text())
        names = {one["id"]: one["name"] for one in json.loads((where / "val.json").read_text())["categories"]}
        return [(one["image_id"], names[one["category_id"]], one["score"]) for one in detections]

    return measure


def test_classes_under_other_ids_are_measured_by_name(trained, data, tmp_path, measured):
    other = with_categories(data, tmp_path / "turned", turn_around)
    wanted = measured(trained, data)
    assert len({name for _, name, _ in wanted}) > 1
    with pytest.warns(Note, match="has the classes in another order than the data; its rows are taken by name"):
        assert sorted(measured(trained, other, "--data", other)) == sorted(wanted)


def test_a_checkpoint_of_a_run_with_other_ids_is_taken_by_name(trained, data, tmp_path, measured):
    """It may be measured in a run whose ids are turned around, and another run may start from it."""
    other = with_categories(data, tmp_path / "turned", turn_around)
    options = ("--assigner", "dw", "--init", trained / "best.pth", "--set", "schedule.optimizer.lr=0.0")
    with pytest.warns(Note, match="rows are taken by name"):
        assert run("train", "--data", other, "--work-dir", tmp_path / "r", *SMALL, *options) == 0
    with pytest.warns(Note, match="rows are taken by name"):
        found = measured(tmp_path / "r", other, "--checkpoint", trained / "best.pth")
    assert sorted(found) == sorted(measured(trained, data))
    weight = "bbox_head.conv_cls.weight"
    first, second = (safe_load(folder / "best.pth")["state_dict"][weight] for folder in (trained, tmp_path / "r"))
    assert torch.equal(first.flip(0), second)


def test_other_classes_are_refused_everywhere(trained, data, tmp_path, capsys):
    other = with_categories(data, tmp_path / "renamed", rename)
    assert run("test", trained, "--data", other) == 1
    assert "other classes than the run's; 'disk' is one of the run's alone" in capsys.readouterr().err
    options = (
        "--data",
        other,
        "--assigner",
        "dw",
        "--init",
        trained / "best.pth",
        "--work-dir",
        tmp_path / "r",
        *SMALL,
    )
    assert run("train", *options) == 1
    said = capsys.readouterr().err
    assert "a checkpoint of other classes; 'disk' is one of its 5 and none of the data's 5" in said
    assert "detassign convert" in said
    assert not (tmp_path / "r").exists()
    assert run("train", "--work-dir", trained, "--resume", "--data", other) == 1
    assert "data.classes is ['disk', " in capsys.readouterr().err


def test_a_damaged_run_is_told_in_one_sentence(trained, tmp_path, capsys):
    for path in shutil.copytree(trained, tmp_path / "run").glob("*.pth"):
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content[:1000])
    assert run("train", "--work-dir", tmp_path / "run", "--resume") == 1
    assert run("test", tmp_path / "run") == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert all("no checkpoint of the run can be used: checkpoint '" in line for line in said)

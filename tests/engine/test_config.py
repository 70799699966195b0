"""Composing, changing, writing and reading configs."""

import json
import subprocess
import sys

import pytest

from detassign.assigners import ASSIGNERS, build
from detassign.data import make_dataset, resolve
from detassign.engine import config as configs
from detassign.engine import fragments
from detassign.engine.files import write_json


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "shapes"
    make_dataset(folder, images=4, size=64)
    return resolve(folder)


def test_names_come_together_in_a_plain_config(source):
    config = configs.compose("fcos_tiny", "dw", source, epochs=3)
    assert config["name"] == "fcos_tiny-dw-shapes"
    assert config["model"]["head"]["num_classes"] == len(source.classes)
    assert config["model"]["head"]["assigner"] == {"type": "dw"}
    assert config["schedule"]["epochs"] == 3
    assert json.loads(json.dumps(config)) == config


@pytest.mark.parametrize(
    ("assigner", "description", "name"),
    [
        ("dw(top_k=9)", {"type": "dw", "top_k": 9}, "dw(top_k=9)"),
        (
            "atss+dual(gamma=1.5)",
            {"matching": "atss", "weighting": {"type": "dual", "gamma": 1.5}},
            "atss+dual(gamma=1.5)",
        ),
        ({"matching": "atss", "weighting": "dual"}, {"matching": "atss", "weighting": "dual"}, "atss+dual"),
        ({"type": "dw", "top_k": 9}, {"type": "dw", "top_k": 9}, "dw(top_k=9)"),
    ],
)
@pytest.mark.parametrize("by_key", [False, True])
def test_a_spec_is_resolved_into_plain_values_and_names_the_run(source, assigner, description, name, by_key):
    changes = {"model.head.assigner": assigner}
    named = ("fcos", source, None, changes) if by_key else (assigner, source)
    config = configs.compose("fcos_tiny", *named)
    assert config["model"]["head"]["assigner"] == description
    assert config["name"] == f"fcos_tiny-{name}-shapes"


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("encoder", "hungarian(costs={focal: 2})", {"type": "hungarian", "costs": {"focal": 2}}),
        ("encoder", "atss+dual(gamma=1.5)", {"matching": "atss", "weighting": {"type": "dual", "gamma": 1.5}}),
        ("prior", "center_prior(sigma=2)", {"type": "center_prior", "sigma": 2}),
        ("score", "softmax", "softmax"),
        ("top_k", 9, 9),
    ],
)
def test_a_spec_below_the_assigner_is_resolved_too(source, key, text, value):
    config = configs.compose("fcos_tiny", "dw", source, changes={f"model.head.assigner.{key}": text})
    assert config["model"]["head"]["assigner"] == {"type": "dw", key: value}


def test_a_mistake_in_a_spec_below_the_assigner_has_its_place(source):
    with pytest.raises(ValueError, match=r"\( is never closed, at character 5"):
        configs.compose("fcos_tiny", "dw", source, changes={"model.head.assigner.encoder": "atss(k=9"})


def test_a_spec_set_on_a_written_config_is_resolved_too(source):
    config = configs.changed(
        configs.compose("fcos_tiny", "fcos", source), {"model.head.assigner": "atss+dual(gamma=1.5)"}
    )
    description = {"matching": "atss", "weighting": {"type": "dual", "gamma": 1.5}}
    assert config["model"]["head"]["assigner"] == description


@pytest.mark.parametrize("detector", fragments.names("detectors"))
def test_every_detector_fragment_composes(source, detector):
    config = configs.compose(detector, None, source)
    kind = "dense.DenseDetector" if detector.startswith("fcos") else "query.QueryDetector"
    assert config["model"]["type"] == f"detassign.detectors.{kind}"


@pytest.mark.parametrize("name", [*ASSIGNERS, "atss+dual", "center_sampling+focal+softmax"])
def test_an_assigner_of_a_config_is_what_the_library_builds_by_that_name(source, name):
    head = configs.compose("fcos_tiny", name, source)["model"]["head"]
    assert repr(build(head["assigner"], head["num_classes"])) == repr(build(name, len(source.classes)))


def test_an_assigner_that_is_no_name_is_refused_with_the_nearest(source):
    with pytest.raises(ValueError, match=r"unknown assigner 'dw_top8'; did you mean 'dw_top9'"):
        configs.compose("fcos_tiny", "dw_top8", source)
    with pytest.raises(ValueError, match=r"'atss\+dual\+sigmoid\+more': expected matching\+weighting or"):
        configs.compose("fcos_tiny", "atss+dual+sigmoid+more", source)


@pytest.mark.parametrize("recipe", fragments.names("recipes"))
def test_every_recipe_composes_with_its_changes(source, recipe):
    parts = configs.read_recipe(recipe)
    assert parts.get("data") == (
        "coco" if "detector" in parts else None
    )  # a published run, or for any detector and data
    detector = parts.get("detector", "fcos_tiny")
    config = configs.compose(detector, parts.get("assigner"), source, parts.get("schedule"), parts["changes"])
    for key, value in parts["changes"].items():
        place = config
        for name in key.split("."):
            place = place[name]
        assert place == configs.plain(value)


def test_settings_are_literals_or_text():
    changes = configs.parse_changes(["a.b=1", "c=x", "d=[1, 2]", "e=false", "f=a=b"])
    assert changes == {"a.b": 1, "c": "x", "d": [1, 2], "e": False, "f": "a=b"}


def test_a_setting_without_a_value_is_refused():
    with pytest.raises(ValueError, match="expected key=value"):
        configs.parse_changes(["model.head"])


@pytest.mark.parametrize("text", ["1e999", "-1e999", "[1, 1e999]", "{1, 2}", "b'x'", "2j", "{3: 1}", "..."])
def test_a_setting_that_no_file_can_hold_is_refused(text):
    """What a run does is what its config.json says."""
    with pytest.raises(ValueError, match=r"--set a=.*: expected finite numbers, text, lists or dicts"):
        configs.parse_changes([f"a={text}"])


def test_a_setting_too_deep_to_read_is_text():
    assert configs.parse_changes(["a=" + "(" * 5000])["a"].startswith("(((")


def test_a_misspelt_key_is_refused_with_the_nearest(source):
    with pytest.raises(ValueError, match=r"schedule\.epoch.*did you mean 'schedule\.epochs'"):
        configs.compose("fcos_tiny", "fcos", source, changes={"schedule.epoch": 1})


def test_another_number_of_classes_than_the_data_has_is_refused(source):
    sentence = rf"fcos_tiny-fcos-.*: model\.head\.num_classes is 91, and the data has {len(source.classes)} classes"
    with pytest.raises(ValueError, match=sentence):
        configs.compose("fcos_tiny", "fcos", source, changes={"model.head.num_classes": 91})


@pytest.mark.parametrize("detector", ["dino_r18_tiny", "detr_tiny"])
def test_arguments_of_denoising_may_be_new(source, detector):
    changes = {"model.denoising.denoising": "dn", "model.denoising.indicator": True}
    model = configs.compose(detector, None, source, changes=changes)["model"]
    assert model["denoising"] == {"denoising": "dn", "indicator": True}


def test_arguments_of_a_class_may_be_new(source):
    config = configs.compose("fcos_tiny", "dw", source, changes={"model.head.assigner.top_k": 5})
    assert config["model"]["head"]["assigner"] == {"type": "dw", "top_k": 5}


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        ("detector", ("fcos_tny", "fcos"), "did you mean 'fcos_tiny'"),
        ("assigner", ("fcos_tiny", "fcso"), "did you mean 'fcos'"),
    ],
)
def test_an_unknown_name_suggests_the_nearest(source, kind, arguments, message):
    with pytest.raises(ValueError, match=f"unknown {kind}.*{message}"):
        configs.compose(*arguments, source)


def test_a_saved_config_reads_back_equal(source, tmp_path):
    config = configs.compose("fcos_tiny", "dw", source)
    write_json(config, tmp_path / "config.json")
    assert configs.read(tmp_path / "config.json") == config
    assert configs.source_of(config) == source


@pytest.mark.parametrize(("text", "message"), [("{", "no JSON"), ("{}", "lacks data, input, model, schedule")])
def test_a_file_that_is_no_config_is_named(tmp_path, text, message):
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        configs.read(path)


def test_a_recipe_may_be_a_file_of_the_users(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text('detector = "fcos_tiny"\nassigner = "dw"\nchanges = {"schedule.epochs": 2}\n')
    assert configs.read_recipe(str(path)) == {
        "detector": "fcos_tiny",
        "assigner": "dw",
        "changes": {"schedule.epochs": 2},
    }


def test_fragments_load_before_anything_else_of_the_package():
    code = "import detassign.configs.detectors.fcos_tiny as f; print(f.schedule)"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "tiny"


@pytest.mark.parametrize(
    ("detector", "name", "noise"),
    [
        ("dino_r18_tiny", None, {"type": "cdn"}),
        ("dino_r18_tiny", "dn", {"type": "dn"}),
        ("dn_detr_tiny", "dn", {"type": "dn"}),
        ("dn_dab_dino_deformable_detr_tiny", "dn", {"type": "dn"}),
    ],
)
def test_denoising_is_the_detectors_or_the_one_named(source, detector, name, noise):
    assert configs.compose(detector, None, source, denoising=name)["model"]["denoising"]["denoising"] == noise


def test_a_detectors_usual_denoising_by_name_keeps_its_amounts(source):
    """Which can be changed one by one."""
    named, usual = (
        configs.compose("dn_dab_dino_deformable_detr_tiny", None, source, denoising=name)["model"]["denoising"]
        for name in ("cdn", None)
    )
    assert named == usual
    assert named["denoising"]["unknown_negatives"]
    changes = {"model.denoising.denoising.groups": 3}
    config = configs.compose("dino_r18_tiny", None, source, changes=changes)
    assert config["model"]["denoising"]["denoising"] == {"type": "cdn", "groups": 3}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("import sys; sys.exit()", r"mine\.py, line 1: SystemExit"),
        ("\nx = 1 / 0", r"mine\.py, line 2: ZeroDivisionError: division by zero"),
        ("def f(:", r"mine\.py, line 1: SyntaxError"),
        ("changes = 5", r"mine\.py: changes is 5; expected a dict"),
        ("detector = None", r"mine\.py: detector is None; expected a name"),
    ],
)
def test_a_recipe_that_does_not_run_or_says_something_else_is_named(text, sentence, tmp_path):
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(ValueError, match=sentence):
        configs.read_recipe(str(tmp_path / "mine.py"))

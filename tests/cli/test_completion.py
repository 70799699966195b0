"""Tab completion: every name that there is, and neither torch nor mmdet, which would keep a shell waiting."""

import os
import subprocess
import sys

import pytest
from click.shell_completion import ShellComplete

from detassign import assigners, detectors
from detassign.cli import COMMANDS, _group
from detassign.cli.completion import registered
from detassign.cli.list import MATRIX, SECTIONS
from detassign.data import DATASETS
from detassign.engine import fragments

WITHOUT_TORCH = """
import os, sys
from detassign.cli import main
for words in sys.stdin.read().splitlines():
    os.environ |= {"_DETASSIGN_COMPLETE": "zsh_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    try:
        main([])
    except SystemExit as ended:
        print("=", ended.code)
print(sorted({"torch", "mmdet", "mmcv", "mmengine", "scipy", "matplotlib", "pycocotools"} & set(sys.modules)))
"""


def completed(*words, incomplete=""):
    """What a shell is offered after the words, folders and files left to the shell aside."""
    found = ShellComplete(_group(), {}, "detassign", "_DETASSIGN_COMPLETE").get_completions([*words], incomplete)
    return [item.value for item in found if item.type == "plain"]


def test_every_registered_name_is_read_off_the_source():
    assert detectors.QueryDetector  # imported: it registers extras
    known = registered()
    registries = {name: value for name, value in vars(assigners).items() if isinstance(value, type(assigners.COSTS))}
    assert {"ASSIGNERS", "MATCHINGS", "WEIGHTINGS", "EXTRAS"} < set(registries)
    for name, entries in registries.items():
        assert known[name] == [entry for entry in entries if entries[entry].__module__.startswith("detassign.")], name


@pytest.mark.parametrize(
    ("option", "kind"),
    [("--detector", "detectors"), ("--scheme", "schemes"), ("--schedule", "schedules")],
)
def test_config_fragments_are_completed_by_name(option, kind):
    assert completed("train", option) == list(fragments.names(kind))


def test_a_begun_name_is_completed():
    assert completed("train", "--detector", incomplete="dino_r18") == ["dino_r18", "dino_r18_tiny"]
    assert completed("train", incomplete="dw_r101") == ["dw_r101_worefine_mstrain_2x"]
    assert completed(incomplete="in") == ["inspect"]
    assert completed(incomplete="c") == [name for name in COMMANDS if name.startswith("c")]


def test_specs_are_completed_part_by_part():
    assert completed("train", "--assigner", incomplete="ats") == ["atss"]
    assert completed("train", "--assigner", incomplete="atss+quality_f") == ["atss+quality_focal"]
    assert completed("train", "--assigner", incomplete="atss+focal+soft") == ["atss+focal+softmax"]
    assert completed("bench", "assigners", "--assigners", incomplete="fcos,atss+one") == ["fcos,atss+one_to_few"]
    assert completed("bench", "assigners", "--detectors", incomplete="fcos_tiny,detr_ti") == ["fcos_tiny,detr_tiny"]
    assert completed("train", "--denoising") == ["none", "cdn", "dn"]


def test_data_sets_and_sections_are_completed():
    assert completed("train", "--data") == list(DATASETS)
    assert completed("list") == [*SECTIONS, MATRIX]


def test_runs_are_completed_from_here_and_below(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("runs/a", "runs/b", "runs/none", "elsewhere/a"):
        (tmp_path / folder).mkdir(parents=True)
        if not folder.endswith("none"):
            (tmp_path / folder / "config.json").touch()
    assert completed("predict") == ["runs/a", "runs/b"]
    assert completed("test", incomplete="b") == ["runs/b"]
    assert completed("inspect", "--run", incomplete="elsewhere/") == ["elsewhere/a"]


def test_no_shell_waits_for_torch():
    asked = {
        "detassign tra": "train",
        "detassign train --detector dino_r18_t": "dino_r18_tiny",
        "detassign train --assigner autoas": "autoassign",
        "detassign train --set": "--set",
        "detassign list mat": "matrix",
        "detassign bench assigners --detectors fcos_t": "fcos_tiny",
        "detassign inspect --di": "--diff",
        "detassign data che": "check",
        "detassign doctor --j": "--json",
    }
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH],
        input="\n".join(asked),
        capture_output=True,
        text=True,
        env={**os.environ},
    )
    assert run.stderr == ""
    answers = run.stdout.split("= 0\n")
    assert answers.pop() == "[]\n"
    for answer, (words, expected) in zip(answers, asked.items(), strict=True):
        assert expected in answer.splitlines(), words

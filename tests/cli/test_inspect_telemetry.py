"""The flag that turns telemetry on, and what `inspect --telemetry` makes of a run that has some."""

import json

import matplotlib.image
import pytest
from click.testing import CliRunner

from detassign.cli.bench import command as bench
from detassign.cli.config import command as config
from detassign.cli.inspect import command
from detassign.data import make_dataset

PROBE = {
    "images": 2,
    "instability": 1.5,
    "moved": 0.25,
    "moved_by_size": {"small": 0.5, "medium": None, "large": 0.0},
    "moved_between_layers": {"1": 0.125, "2": 0.0},
    "spearman": 0.5,
}
STEPS = {
    "positives_by_size": {"small": 1.5, "medium": None, "large": 20.0},
    "without_by_size": {"small": 0.25, "medium": None, "large": 0.0},
    "best_share": 0.75,
}


@pytest.fixture
def run(tmp_path):
    """As much of a run's folder as is read: two epochs, of which the first has nothing to compare and no step looked at."""
    lines = [
        {"step": 1, "epoch": 1, "loss": 2.0, "seconds": 0.1},
        {"step": 1, "epoch": 1, "telemetry": {"steps": None, "probe": {"images": 2, "spearman": None}, "seconds": 0.1}},
        {"step": 2, "epoch": 2, "telemetry": {"steps": STEPS, "probe": PROBE, "seconds": 0.1}},
    ]
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path / "run"


def inspect(*arguments):
    return CliRunner().invoke(command, [*map(str, arguments), "--telemetry"])


def test_a_row_for_every_epoch_a_picture_and_the_numbers(run, tmp_path):
    done = inspect("--run", run, "--out", tmp_path / "a.png", "--json", tmp_path / "a.json")
    assert done.exit_code == 0, done.output
    rows = [
        [cell.strip() for cell in line.split("│")[1:-1]] for line in done.output.splitlines() if line.startswith("│")
    ]
    assert rows[0] == ["1", *["-"] * 10]
    expected = ["2", "1.50", "25.0", "12.5 / 0.0", "1.50 / - / 20.00", "25.0 / - / 0.0", "-", "75.0", "-", "-", "0.50"]
    assert rows[1] == expected
    assert matplotlib.image.imread(tmp_path / "a.png").shape == (700, 1100, 4)
    assert [line["epoch"] for line in json.loads((tmp_path / "a.json").read_text())] == [1, 2]


def test_a_run_without_telemetry_is_told_how_to_get_some(run):
    (run / "metrics.jsonl").write_text('{"step": 1, "epoch": 1, "loss": 2.0}\n')
    assert "has no telemetry; train with --telemetry" in str(inspect("--run", run).exception)
    (run / "metrics.jsonl").unlink()
    assert "holds no metrics.jsonl; name the folder of a run" in str(inspect("--run", run).exception)
    assert "--telemetry: name the run's folder with --run" in str(inspect().exception)


def test_lines_that_somebody_has_broken_are_read_as_far_as_they_are_numbers(run, tmp_path):
    broken = [{"probe": 3, "steps": [1]}, {"probe": {"moved": "much", "instability": True, "moved_by_size": 1}}, 7]
    lines = [json.dumps({"step": 1, "epoch": epoch, "telemetry": value}) for epoch, value in enumerate(broken)]
    lines.append(json.dumps({"step": 1, "epoch": "last", "telemetry": {"probe": PROBE, "steps": STEPS}}))
    (run / "metrics.jsonl").write_text("\n".join(lines))
    done = inspect("--run", run, "--out", tmp_path / "a.png")
    assert done.exit_code == 0, done.output
    assert done.output.count("│ -") >= 20


def test_the_flag_is_in_the_config_and_its_settings_can_be_set(tmp_path):
    make_dataset(tmp_path / "data", images=3, size=64)
    given = ["--data", str(tmp_path / "data"), "--telemetry", "--set", "telemetry.images=8"]
    found = json.loads(CliRunner().invoke(config, given).output)["telemetry"]
    assert found == {"on": True, "every": 5, "images": 8, "patience": 3}
    refused = CliRunner().invoke(config, [*given, "--set", "telemetry.every=0"])
    assert "telemetry.every is 0; expected a whole number of at least 1" in str(refused.exception)


def test_a_comparison_takes_the_flag_for_all_its_runs():
    assert "telemetry" in {option.name for option in bench.commands["assigners"].params}

"""The objects of two images through four epochs, by hand; their file; and the word on those that nothing learns."""

import json

import pytest
import torch
from support.telemetry import image

from detassign.compat.checkpoint import safe_load
from detassign.evidence.drawing.telemetry import draw, values
from detassign.evidence.telemetry.history import COLUMNS, read_history
from detassign.evidence.telemetry.probe import Probe
from detassign.evidence.telemetry.warning import left_alone

IMAGES = [
    {"id": 7, "file": "a.jpg", "index": 3, "objects": [{"label": 0, "box": [0, 0, 9, 9], "size": "small"}]},
    {
        "id": 9,
        "file": "b.jpg",
        "index": 5,
        "objects": [
            {"label": 1, "box": [0, 0, 9, 9], "size": "small"},
            {"label": 1, "box": [0, 0, 99, 99], "size": "large"},
        ],
    },
]
EPOCHS = [
    [image((0, 0, 0, 2.0), objects=1), image((0, 0, 1, 1.0), (0, 1, 1, 3.0))],
    [image((0, 1, 0, 2.0), objects=1), image((0, 1, 1, 1.0), (0, 2, 1, 3.0))],
    [image(objects=1), image((0, 1, 1, 1.0), (0, 2, 1, 3.0))],
    [image(objects=1), image((0, 3, 0, 1.0), (0, 2, 1, 3.0))],
]


def probe_after(epochs):
    probe = Probe(IMAGES, ("cat", "dog"), ("8", "16"))
    return probe, [probe.add(number + 1, found) for number, found in enumerate(EPOCHS[:epochs])]


def test_what_each_epoch_says():
    """The large object's shares are (¼, ¾, 0), (0, ¼, ¾), the same, and (0, 0, 1)."""
    _, entries = probe_after(4)
    assert "instability" not in entries[0]
    assert [entry["instability"] for entry in entries[1:]] == [(2 + 2) / 2, (1 + 0) / 2, (0 + 2) / 2]
    assert [entry["moved_by_size"]["large"] for entry in entries[1:]] == pytest.approx([0.75, 0, 0.25])
    assert [entry["moved_by_size"]["small"] for entry in entries[1:]] == [1, 1, 1]
    assert [entry["moved"] for entry in entries[1:]] == pytest.approx([1.75 / 2, 0.5, 1.25 / 2])
    assert [entry["without_by_size"]["small"] for entry in entries] == [0.5, 0.5, 1, 0.5]
    assert [entry["longest_without_by_size"]["small"] for entry in entries] == [1, 2, 3, 2]
    assert [entry["samples_by_size"]["large"] for entry in entries] == [2, 2, 2, 1]
    assert entries[0]["objects_by_size"] == {"small": 2, "medium": 0, "large": 1}
    assert entries[0]["without_by_size"]["medium"] is None


def test_the_rank_correlation_of_score_and_overlap_is_over_all_pairs():
    probe = Probe(IMAGES[:1], ("cat", "dog"), ())
    pairs = [(0, sample, 0, 1.0) for sample in range(4)]
    entry = probe.add(1, [image(*pairs, objects=1, score=[0.1, 0.2, 0.3, 0.4], iou=[0.1, 0.3, 0.2, 0.9])])
    assert entry["spearman"] == pytest.approx(1 - 6 * 2 / (4 * 15))


def test_layers_are_told_apart_and_compared():
    probe = Probe(IMAGES[:1], ("cat", "dog"), ())
    probe.add(1, [image((0, 0, 0, 1), (1, 1, 0, 1), (2, 1, 0, 1), objects=1, layers=3, final=1)])
    entry = probe.add(2, [image((0, 0, 0, 1), (1, 0, 0, 1), (2, 1, 0, 1), objects=1, layers=3, final=1)])
    assert entry["instability"] == 2
    assert entry["instability_by_layer"] == {"0": 0, "1": 2, "encoder": 0}
    assert entry["moved_by_layer"] == {"0": 0, "1": 1, "encoder": 0}
    assert entry["instability_between_layers"] == {"1": 0}
    assert entry["moved_between_layers"] == {"1": 0}


def test_a_detector_that_has_other_samples_than_before_is_not_compared():
    probe, _ = probe_after(1)
    assert "moved" not in probe.add(2, [image(objects=1, samples=9), image(samples=9)])


def test_the_history_of_an_object_is_in_the_file(tmp_path):
    probe, _ = probe_after(4)
    (tmp_path / "telemetry.json").write_text(json.dumps(probe.history().to_dict()))
    history = read_history(tmp_path)
    first = history.of(3, 0)
    assert [look["epoch"] for look in first] == [1, 2, 3, 4]
    assert [look["samples"] for look in first] == [1, 1, 0, 0]
    assert [look["without"] for look in first] == [0, 0, 1, 2]
    assert [look["best"] for look in first] == [0, 1, -1, -1]
    assert [look["moved"] for look in first] == [None, 1, 1, None]
    assert [look["level"] for look in first] == ["8", "8", None, None]
    assert [look["score"] for look in first] == [0.1, 0.1, None, None]
    large = history.of("b.jpg", 1)
    assert [look["best"] for look in large] == [1, 2, 2, 2]
    assert [look["weight"] for look in large] == [4, 4, 4, 3]
    assert [look["moved"] for look in large] == [None, 0.75, 0, 0.25]


def test_an_image_or_object_that_was_not_followed_is_refused_with_those_that_were():
    history = probe_after(1)[0].history()
    with pytest.raises(ValueError, match=r"image 4: telemetry did not follow it; .* images 3, 5"):
        history.of(4, 0)
    with pytest.raises(ValueError, match=r"object 2: expected one below 2"):
        history.of("5", 2)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 2}, "its format is not 1"),
        ({"images": 3}, "images is no list"),
        ({"images": [{"id": 1}]}, "an image lacks id, file, index or objects"),
        ({"epochs": ["one"]}, "an epoch is no whole number"),
        ({"epochs": [1, 2]}, "the column samples does not have a number for each of 3 objects at each of 2 looks"),
        ({"columns": None}, "the column samples does not"),
        ({"levels": []}, "a level is none of those named"),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path, change, said):
    content = probe_after(1)[0].history().to_dict()
    content["columns"]["level"] = [[1, 0, 0]]
    (tmp_path / "telemetry.json").write_text(json.dumps({**content, **change}))
    with pytest.raises(ValueError, match=said):
        read_history(tmp_path)


def test_a_run_without_a_history_is_told_how_to_get_one(tmp_path):
    with pytest.raises(FileNotFoundError, match="a run leaves it after an epoch with --telemetry"):
        read_history(tmp_path)


def test_a_probe_goes_on_where_its_state_was_taken(tmp_path):
    whole, entries = probe_after(4)
    stopped, _ = probe_after(2)
    torch.save(stopped.state(), tmp_path / "state.pth")
    resumed = Probe(IMAGES, ("cat", "dog"), ("8", "16"))
    assert resumed.load(safe_load(tmp_path / "state.pth"))
    assert [resumed.add(number, EPOCHS[number - 1]) for number in (3, 4)] == entries[2:]
    assert json.dumps(resumed.history().to_dict()) == json.dumps(whole.history().to_dict())


def test_the_state_of_other_images_is_not_taken():
    other = Probe(IMAGES[:1], ("cat", "dog"), ())
    assert not other.load(probe_after(1)[0].state())
    assert other.epochs == []


def test_objects_that_nothing_learns_for_long_are_told_once():
    said = []
    for epochs in range(1, 5):
        said.append(left_alone(probe_after(epochs)[0], patience=2))
    assert said[0] == said[2] == []
    assert said[1] == [
        "1 of the 2 small objects that telemetry follows had no sample that learns them for 2 epochs; "
        "'detassign inspect --run' with --telemetry shows more"
    ]
    assert said[3] == []  # as many as before
    assert COLUMNS[3] == "without"


def test_the_figure_has_a_line_for_what_there_is():
    lines = [{"epoch": number + 1, "telemetry": {"probe": entry}} for number, entry in enumerate(probe_after(4)[1])]
    assert values(lines, "probe", "instability")[1:] == [2, 0.5, 1]
    panels = draw(lines, "a $run$").axes
    assert [len(axes.lines) for axes in panels] == [1, 3, 0, 0]
    assert panels[0].lines[0].get_ydata()[1:].tolist() == [2, 0.5, 1]
    assert panels[1].lines[1].get_ydata()[1:] == pytest.approx([75, 0, 25])
    assert panels[2].texts[0].get_text() == "nothing to compare yet"

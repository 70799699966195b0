"""Plain values of a config: what they may be is said by name, before anything is built."""

import pytest

from detassign.data import make_dataset, resolve
from detassign.engine import fragments
from detassign.engine.config import compose, plain
from detassign.engine.values import DECAYS, OPTIONAL, RULES, check_values


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "shapes"
    make_dataset(folder, images=4, size=64)
    return resolve(folder)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("schedule.epochs", "abc", "a whole number of at least 1"),
        ("schedule.epochs", True, "a whole number of at least 1"),
        ("schedule.batch_size", 0, "a whole number of at least 1"),
        ("schedule.optimizer.lr", "abc", "a number of at least 0"),
        ("schedule.optimizer", 3, "text"),
        ("schedule.warmup.iterations", 1.5, "a whole number of at least 0"),
        ("schedule.decay", {"type": "step", "epochs": 8, "gamma": 0.1}, "a list of numbers, epochs"),
        ("schedule.decay.end", "x", "a number of at least 0"),
        ("schedule.clip", "x", "a number above 0 or None"),
        ("input.scale", 5, "two whole numbers above 0"),
        ("input.scale", [64, 64, 64], "two whole numbers above 0"),
        ("input.multi_scale", [64, 64], "a list of such pairs"),
        ("input.flip", "upward", "a list of horizontal, vertical and diagonal"),
        ("input.workers", -1, "a whole number of at least 0 or None"),
        ("evaluation.every", 0, "a whole number of at least 1"),
        ("evaluation", {}, "a whole number of at least 1"),
        ("seed", "x", "a whole number of at least 0"),
        ("precision", "half", "one of float32, bfloat16, float16, amp, auto"),
        ("pretrained", 3, "text or None"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_with_its_key(source, key, value, expected):
    with pytest.raises(ValueError, match=rf"config fcos_tiny-fcos-shapes: {key}.* expected {expected}"):
        compose("fcos_tiny", "fcos", source, changes={key: value})


@pytest.mark.parametrize("key", sorted(RULES.keys() - OPTIONAL))
def test_a_value_that_is_missing_is_named(source, key):
    config = compose("fcos_tiny", "fcos", source)
    *parents, last = key.split(".")
    place = config
    for name in parents:
        place = place[name]
    del place[last]
    with pytest.raises(ValueError, match=f"{key} is missing"):
        check_values(config, "mine.json")


@pytest.mark.parametrize("name", fragments.names("schedules"))
def test_every_schedule_passes(source, name):
    schedule = plain(fragments.load("schedules", name)["schedule"])
    check_values({**compose("fcos_tiny", "fcos", source), "schedule": schedule}, name)
    assert schedule["decay"]["type"] in DECAYS

"""What the command line has options for, a call has arguments for."""

import inspect

import pytest

import detassign
from detassign.cli import bench_report, config, test, train
from detassign.cli import inspect as inspecting
from detassign.training import TrainOptions

ANSWERED = {"as_json", "no_table", "json_file", "out", "no_report"}  # a call returns what these print or write


def arguments(call):
    return {name for name, one in inspect.signature(call).parameters.items() if one.kind != one.VAR_KEYWORD}


def options(command):
    return {parameter.name for parameter in command.params} - ANSWERED


def test_train_takes_what_the_command_takes():
    assert options(train.command) == arguments(detassign.train) | TrainOptions.__annotations__.keys()
    assert options(config.command) <= {"config"} | TrainOptions.__annotations__.keys()


@pytest.mark.parametrize(
    ("command", "call"),
    [(test.command, detassign.evaluate), (bench_report.compare, detassign.compare)],
    ids=["test", "bench compare"],
)
def test_a_call_takes_what_its_command_takes(command, call):
    assert options(command) == arguments(call) - {"report"}  # of `test`: --out, or --no-report


def test_inspect_takes_what_one_image_takes():
    others = {"diff", "why", "telemetry", "theme"}  # questions of the command line; the theme is of `plot` and `save`
    assert options(inspecting.command) - others == arguments(detassign.inspect)

"""`detassign advise`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from ..engine.files import check_files
from ..engine.finding import find_data
from .advise_probe import probe_assigners, probe_options
from .common import data_option, data_root_option, images_option, options
from .tables import say, table

if TYPE_CHECKING:
    from ..data import DataSource
    from ..evidence.advice.facts import Facts
    from ..evidence.advice.reach import Reach
    from ..evidence.advice.rules import Choice

BY_GEOMETRY = ("fcos", "atss", "max_iou", "rfla")  # assigners whose matchings look at points and boxes alone
STRIDES = (8, 16, 32, 64, 128)
FAULTS = 8  # findings that are shown


@click.command("advise")
@options(data_option, data_root_option, images_option)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write everything to this JSON file.")
@probe_options
def command(
    data: str | None,
    data_root: Path | None,
    images: int | None,
    json_file: Path | None,
    minutes: float | None,
    work_dir: Path | None,
    **probe: Any,
) -> int:
    """Say what a data set asks for: detector, input size, number of queries, detection limit, assigners.

    Reads sizes, crowding, overlap, classes and faults of the annotations, and what points and anchors can reach at the input
    size that follows. Reasons state the rules of thumb that they go by. With --minutes the assigners that are worth it are
    trained, with as many seeds as there is time for, and compared.

    \b
    detassign advise --data my/folder
    detassign advise --data my/folder --minutes 30 --pretrained mobilenet_v2.pth
    """
    check_files(json_file)
    source = find_data(data or "synthetic", data_root, images)
    advice = _advice(source)
    _show(source.name, advice.statistics, advice.reached, advice.choices, advice.side)
    faults = [f"  {fault}" for fault in advice.faults[:FAULTS]]
    say("\n".join(["In the annotations:", *faults] if faults else []))
    say(f"Worth comparing on this set: {', '.join(advice.assigners)}.")
    click.echo(f"  {_comparison(advice, data or 'synthetic', data_root, images)}")
    decided = []
    if minutes is not None:
        source_options = {"data": (data or "synthetic",), "data_root": data_root, "images": images}
        decided = probe_assigners(advice.assigners, advice.side, minutes, work_dir, **source_options, **probe)
        say("\n".join(decided))
    if json_file:
        from ..engine.files import write_json

        write_json({"data": source.name, **advice.to_dict(), "probe": decided}, json_file)
        click.echo(str(json_file))
    return 0


class _Advice(NamedTuple):
    """What a data set asks for."""

    statistics: Mapping[str, Mapping[str, Any]]
    faults: list[str]
    side: int
    reached: dict[str, Reach]
    choices: list[Choice]
    assigners: list[str]

    def to_dict(self) -> dict[str, Any]:
        return {
            "statistics": self.statistics,
            "faults": self.faults,
            "input_side": self.side,
            "reach": {name: asdict(each) for name, each in self.reached.items()},
            "choices": [asdict(choice) for choice in self.choices],
            "assigners": self.assigners,
        }


def _advice(source: DataSource) -> _Advice:
    """Read off the annotations.

    Raises:
        ValueError: when they have errors, or no objects.
    """
    import torch

    from ..data import check
    from ..data.reader import read_annotations
    from ..evidence.advice.facts import facts_of
    from ..evidence.advice.rules import choices, input_side, shortlist

    report = check(source)
    faults = [str(found) for found in (*report.errors, *report.warnings)]
    if report.errors:
        say("\n".join(faults[:FAULTS]))
        raise ValueError(f"data {source.name}: has errors, which come first; 'detassign data check' shows all of them")
    facts = facts_of(read_annotations(source.place("train")).table)
    if not len(facts.boxes):
        raise ValueError(f"data {source.name}: has no objects to learn from")
    side = input_side(facts)
    reached = _reached(facts, side)
    most = max(split["most_boxes_in_an_image"] for split in report.statistics.values())
    chosen = choices(facts, most, reached, torch.cuda.is_available())
    return _Advice(report.statistics, faults, side, reached, chosen, shortlist(facts, side))


def _comparison(advice: _Advice, data: str, data_root: Path | None, images: int | None) -> str:
    """The command, as a shell takes it, that compares the assigners on the same data."""
    given = {"--data": data, "--data-root": data_root, "--images": images}
    of_data = shlex.join(str(part) for option in given.items() if option[1] is not None for part in option)
    options = " ".join(each.options for each in advice.choices if each.topic in ("detector", "input size"))
    return f"detassign bench assigners {of_data} --assigners {','.join(advice.assigners)} --seeds 0,1,2 {options}"


def _reached(facts: Facts, side: int) -> dict[str, Reach]:
    from ..assigners import build
    from ..evidence.advice.reach import reach

    return {name: reach(facts, side, STRIDES, build(name, len(facts.classes))) for name in BY_GEOMETRY}


def _show(name: str, statistics: Any, reached: dict[str, Reach], chosen: list[Any], side: int) -> None:
    from ..evidence.words import many

    train = statistics["train"]
    sizes = ", ".join(f"{count} {size}" for size, count in train["sizes"].items())
    say(
        f"{name}: {many(train['images'], 'image')} to learn from with {many(train['boxes'], 'object')} of "
        f"{many(len(train['classes']), 'class')} "
        f"({sizes}; {train['boxes_per_image']:.1f} in an image, {train['most_boxes_in_an_image']} at most)."
    )
    rows = [[each.topic, each.choice, each.reason + (f"\n{each.options}" if each.options else "")] for each in chosen]
    table(["what", "advice", "why"], rows)
    rows = []
    for assigner, each in reached.items():
        missed = [f"{each.missed[size]} of {each.objects[size]}" for size in each.objects]
        rows.append([assigner, *missed, f"{each.samples:.1f}"])
    sizes = [f"{size} without" for size in next(iter(reached.values())).objects]
    table(["assigner", *sizes, "samples per object"], rows, f"what points reach at {side} pixels, strides 8 to 128")

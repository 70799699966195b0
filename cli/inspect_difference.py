"""`detassign inspect --diff A B`, or of two checkpoints: where they disagree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from ..engine.files import write_json
from .inspect_picture import write_picture
from .tables import say, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..engine.inspecting.asked import Asked
    from ..engine.inspecting.subject import Subject
    from ..evidence.inspection.difference import Difference
    from ..evidence.inspection.samples import Samples
    from ..evidence.inspection.scene import Scene


def answer(wanted: Asked, subject: Subject) -> None:
    """Draw and tell where the two disagree."""
    from ..engine.inspecting.picture import Inspection, scene_of
    from ..evidence.pages.content import content_of

    scene, origin = scene_of(wanted, subject)
    inspections = _two(wanted, subject, scene)
    found = Inspection(
        scene, inspections, origin, wanted.split, draw, lambda *shown: marked(content_of(*shown), inspections)
    )
    picture = write_picture(wanted, found)
    if wanted.json_file:
        write_json({**found.to_dict(), "difference": difference_as_json(inspections)}, wanted.json_file)
    print_tables(scene, inspections, origin)
    click.echo(picture)


def _two(wanted: Asked, subject: Subject, scene: Scene) -> list[Any]:
    """Inspections of two assigners, or of one under two checkpoints, which are called by those."""
    form, config, checkpoints, _ = subject
    if len(checkpoints) < 2:
        return form.inspections_of(wanted.specs, config, subject.checkpoint, scene, wanted.seed)
    first, second = (chosen.path for chosen in checkpoints)
    if first == second:
        raise ValueError(f"--checkpoint {','.join(wanted.checkpoints)}: both are {first}; name two different ones")
    specs = wanted.specs or form.own(config)
    found = []
    for chosen in checkpoints:
        (inspection,) = form.inspections_of(specs, config, chosen.path, scene, wanted.seed)
        found.append(_renamed(inspection, chosen.path.stem))
    return found


def _renamed(inspection: Any, name: str) -> Any:
    own = _samples(inspection)
    if own is inspection:
        return replace(inspection, name=name)
    return replace(inspection, name=name, samples=replace(own, name=name))


def difference_between(inspections: Sequence[Any]) -> Difference:
    """Of two inspections of one image."""
    from ..evidence.inspection.difference import difference_of

    first, second = map(_samples, inspections)
    return difference_of(first, second)


def draw(scene: Scene, inspections: Sequence[Any], subtitle: str) -> Figure:
    """The picture."""
    from ..evidence.drawing.difference import draw

    return draw(scene, difference_between(inspections), subtitle)


def print_tables(scene: Scene, inspections: Sequence[Any], origin: str) -> None:
    """A row per object, those that differ most first."""
    difference = difference_between(inspections)
    names = [each.name for each in inspections]
    objects = scene.objects()
    rows = [[*objects[index], *_cells(difference, index)] for index in difference.order]
    heads = ["object", "size", "difference", "common"]
    heads += [f"{what} {name}" for what in ("only", "best IoU") for name in names]
    height, width = scene.image.shape[:2]
    table(heads, rows, title=f"{scene.name}, {width} x {height}, {origin}; {names[0]} and {names[1]}")
    say(
        "difference: how much of an object's w⁺, as shares that add up to 1, lies on other samples; common and only: samples "
        "that both give it, and one alone."
    )


def difference_as_json(inspections: Sequence[Any]) -> dict[str, Any]:
    """What is written beside the counts of each."""
    difference = difference_between(inspections)
    return {
        "first": inspections[0].name,
        "second": inspections[1].name,
        "order": difference.order,
        "targets": [difference.target(index) for index in range(len(difference.distance))],
    }


def marked(content: Mapping[str, Any], inspections: Sequence[Any]) -> dict[str, Any]:
    """A page's content with the objects in order of difference, and marks on samples of one side alone."""
    difference = difference_between(inspections)
    for side, view in enumerate(content["views"]):
        for index, shown in enumerate(view["objects"]):
            only = set(difference.only_in(side, index))
            for row in shown["samples"]:
                row["only"] = row["sample"] in only
    badges = [f"difference {distance:.2f}" for distance in difference.distance]
    return {**content, "order": difference.order, "badges": badges}


def _samples(inspection: Any) -> Samples:
    return getattr(inspection, "samples", inspection)


def _cells(difference: Difference, index: int) -> list[str]:
    best = (each.share(index)[3] for each in (difference.first, difference.second))
    numbers = [str(difference.common[index]), *map(str, difference.only[:, index])]
    return [f"{difference.distance[index]:.2f}", *numbers, *("-" if iou != iou else f"{iou:.2f}" for iou in best)]

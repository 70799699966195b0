"""`detassign inspect --split` without --image: what assigners give the objects of a whole split."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..engine.files import new_path, write_json
from .tables import say, table

if TYPE_CHECKING:
    from ..engine.inspecting.asked import Asked
    from ..engine.inspecting.subject import Subject
    from ..evidence.inspection.split import SplitStatistics


def answer(wanted: Asked, subject: Subject) -> None:
    """Go through all images, one at a time, and tell means and spreads."""
    from ..engine.inspecting.asked import PAGE
    from ..engine.inspecting.picture import origin_of, write_figure
    from ..evidence.drawing.split import draw

    if wanted.out and wanted.out.suffix.lower() == PAGE:
        raise ValueError(
            f"--out {wanted.out}: statistics of a split are a picture (.png, .pdf, .svg); --json has the numbers"
        )
    found = _gathered(wanted, subject)
    origin = origin_of(wanted, subject)
    title = f"{subject.source.name}, {wanted.split}: {found.images} images, {len(found.sides)} objects   ·   {origin}"
    path = wanted.out or new_path(Path(f"inspect-{wanted.split}.png"))
    write_figure(lambda: draw(found, title), path, wanted.theme)
    if wanted.json_file:
        write_json({"split": wanted.split, "predictions": origin, **found.plain()}, wanted.json_file)
    _print_table(found, title)
    click.echo(f"picture: {path}")


def _gathered(wanted: Asked, subject: Subject) -> SplitStatistics:
    """The statistics; a bar shows how far they are."""
    from ..engine.progress import progress_bar
    from ..engine.scenes import scenes, stored_boxes
    from ..evidence.inspection.samples import samples_of
    from ..evidence.inspection.split import Gathering
    from ..evidence.inspection.subjects import at_the_end

    form, config, _, source = subject
    built = at_the_end(wanted.specs or form.usual(config), len(source.classes))
    see = form.seeing(config, subject.checkpoint, wanted.seed)
    gathering = Gathering(tuple(built))
    count, images = scenes(source, config["input"], wanted.split, wanted.stored_size)
    with progress_bar(f"inspect {wanted.split}", count) as advance:
        for scene in images:
            seen = see(scene)
            found = (samples_of(name, assigner, seen(assigner), scene.targets) for name, assigner in built.items())
            gathering.add(stored_boxes(scene).numpy(), found)
            advance()
    return gathering.result()


def _print_table(found: SplitStatistics, title: str) -> None:
    """A row per assigner and size."""
    heads = ["assigner", "objects", "number", "without", "positives", "effective", "best pair", "best IoU"]
    rows = []
    for place, name in enumerate(found.names):
        lines = [[size, *_cells(means)] for size, means in found.by_size(place).items()]
        rows.append([name, *("\n".join(column) for column in zip(*lines, strict=True))])
    table(heads, rows, title=title)
    say(
        "Sizes as COCO's, of the images as they are stored. positives: samples with w⁺ per object; effective: as many of equal "
        "w⁺; best pair: its share of w⁺, and best IoU, of the objects that have samples."
    )


def _cells(means: Mapping[str, Any]) -> list[str]:
    share = "-" if means["without_share"] is None else f"{means['without']} ({100 * means['without_share']:.1f} %)"
    numbers = ["-" if means[key] is None else f"{means[key]:.1f}" for key in ("positives", "effective")]
    best = "-" if means["best_share"] is None else f"{100 * means['best_share']:.0f} %"
    overlap = "-" if means["best_iou"] is None else f"{means['best_iou']:.2f}"
    return [str(means["objects"]), share, *numbers, best, overlap]

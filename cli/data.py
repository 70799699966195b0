"""`detassign data`: make, subset, check, convert, split and show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..data import DATASETS, Report, check, make_dataset, make_subset
from ..data.division import divided
from ..data.files import json_text, new_folder
from ..data.forms import FORMS, SPLITS
from ..data.parts import Written, part_of, together, write_parts
from ..data.reader import read_annotations
from ..data.report import refuse
from ..data.sources import Located, locate
from ..engine.files import check_files, new_path
from ..engine.finding import data_progress, find_data
from ..evidence.words import printable
from .common import data_option, data_root_option
from .tables import table


@click.group("data")
def command() -> None:
    """Make, check, convert, divide or show a data set.

    \b
    detassign data make shapes --images 2000 --seed 0
    detassign data check shapes
    detassign data convert shapes --to yolo --out shapes-yolo
    """


@command.command("make", short_help="Generate a data set of shapes.")
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.option("--images", type=int, default=2000, show_default=True, help="Pictures, train and val together.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--size", type=int, default=160, show_default=True, help="Pixels of each side.")
def make(folder: Path, images: int, seed: int, size: int) -> None:
    """Generate shapes of five classes, as train.json, val.json and images/ in DIR; the same every time.

    \b
    detassign data make shapes --images 2000 --seed 0
    """
    with data_progress() as progress:
        made = make_dataset(folder, images=images, seed=seed, size=size, progress=progress)
    rows = [("train", made.train_images, made.train_boxes), ("val", made.val_images, made.val_boxes)]
    table(["split", "images", "boxes"], rows)
    click.echo(f"{'was there already' if made.reused else 'data set'}: {made.directory}")


@command.command("subset", short_help="Copy a few pictures to train and evaluate on the same.")
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@data_option
@data_root_option
@click.option("--images", type=click.IntRange(min=1), default=16, show_default=True, help="Training pictures to copy.")
def subset(folder: Path, data: str | None, data_root: Path | None, images: int) -> None:
    """Copy the first training pictures with objects to DIR, as training and validation set at once.

    A detector that cannot learn so few by heart has a fault somewhere.

    \b
    detassign data subset few --images 16
    detassign train --detector dino_r18_tiny --data few
    """
    new_folder(folder)  # before a data set is made for it
    boxes = make_subset(find_data(data or "synthetic", data_root), folder, images)
    click.echo(f"{images} images, {boxes} boxes: {folder}")


@command.command("check", short_help="Look for faults before training.")
@click.argument("data", metavar="DATA")
@click.option("--data-root", type=click.Path(path_type=Path), help="Root folder, where DATA is coco.")
@click.option("--headers", type=click.IntRange(min=0), default=200, show_default=True, help="Images opened per split.")
@click.option("--decode", is_flag=True, help="Read every image to its end, which finds damaged ones.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check_command(data: str, data_root: Path | None, headers: int, decode: bool, as_json: bool) -> int:
    """Look for faults before training: DATA is a folder in COCO's, YOLO's or Pascal VOC's form,
    a COCO annotation file, coco or synthetic.

    The exit status is 1 when there are errors, that is, faults that forbid training. Training, test and inspect run
    the same check, with fewer images opened, and show its warnings.

    \b
    detassign data check shapes
    detassign data check shapes --decode
    detassign data check coco --data-root /data/coco
    """
    source = Path(data) if _is_path(data, data_root) else find_data(data, data_root)
    with data_progress("reading images") as progress:
        report = check(source, headers=headers, decode=decode, progress=progress if decode else None)
    if as_json:
        click.echo(json_text(report.to_dict(), indent=2))
    else:
        _show(report)
    return int(bool(report.errors))


out_option = click.option(
    "--out", type=click.Path(path_type=Path), required=True, metavar="DIR", help="A new or empty folder."
)
root_option = click.option("--data-root", type=click.Path(path_type=Path), help="Root folder, where DATA is coco.")


@command.command("convert", short_help="Write a data set in another form.")
@click.argument("data", metavar="DATA")
@root_option
@click.option("--to", "form", type=click.Choice([*FORMS]), required=True, help="The form to write.")
@out_option
def convert(data: str, data_root: Path | None, form: str, out: Path) -> None:
    """Write a data set in COCO's, YOLO's or Pascal VOC's form, its pictures included; it trains to the same numbers.

    DATA is a folder in any of these forms, a COCO annotation file, coco or synthetic. Order, splits and classes stay; boxes are
    written so that they come back as they were. What a form cannot hold is said.

    \b
    detassign data convert shapes --to yolo --out shapes-yolo
    detassign data convert VOCdevkit/VOC2007 --to coco --out voc2007
    """
    new_folder(out)
    located = _sound(data, data_root)
    parts = {split: part_of(place) for split, place in located.places.items()}
    with data_progress("copying images") as progress:
        _tell(write_parts(parts, form, out, progress), form, out)


@command.command("split", short_help="Divide a data set into train, val and test.")
@click.argument("data", metavar="DATA")
@root_option
@click.option("--val", type=float, default=0.2, show_default=True, help="Share of the pictures.")
@click.option("--test", type=float, default=0.0, show_default=True, help="Share of the pictures; none if 0.")
@click.option(
    "--group-by",
    metavar="folder|prefix|REGEX",
    help="What stays together: a folder; names alike but for a number at the end, as of frames; or what matches.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--to", "form", type=click.Choice([*FORMS]), help="The form to write; that of DATA if left out.")
@out_option
def split_command(
    data: str,
    data_root: Path | None,
    val: float,
    test: float,
    group_by: str | None,
    seed: int,
    form: str | None,
    out: Path,
) -> None:
    """Divide the pictures of DATA, of all its splits together, anew: every class in its share, the same every time.

    \b
    detassign data split export --val 0.2 --test 0.1 --out mine
    detassign data split frames --val 0.2 --group-by prefix --out mine
    """
    new_folder(out)
    located = _sound(data, data_root)
    whole = together(part_of(place) for place in located.places.values())
    parts = divided(whole, val, test, group_by, seed)
    form = form or next(iter(located.places.values())).form
    with data_progress("copying images") as progress:
        _tell(write_parts(parts, form, out, progress), form, out)


@command.command("show", short_help="A sheet of pictures with their truth, class counts and sizes.")
@click.argument("data", metavar="DATA")
@root_option
@click.option("--split", "shown", type=click.Choice(SPLITS), help="Whose pictures; the first there is if left out.")
@click.option("--images", type=click.IntRange(min=1, max=100), default=12, show_default=True, help="Pictures to show.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the choice of pictures.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The picture (.png, .pdf, .svg), which is replaced; a new data-NAME.png if left out.",
)
def show(data: str, data_root: Path | None, shown: str | None, images: int, seed: int, out: Path | None) -> None:
    """Draw pictures with their boxes, the objects of each class and how large they are, of every split.

    \b
    detassign data show shapes
    detassign data show my/folder --split val --images 24 --out val.png
    """
    from ..evidence.drawing.canvas import save
    from ..evidence.drawing.sheet import draw, objects_of, pictures_of

    check_files(out)
    located = _sound(data, data_root)
    if shown and shown not in located.places:
        raise ValueError(f"--split {shown}: the data set {located.name} has {' and '.join(located.places)} alone")
    shown = shown or next(iter(located.places))
    tables = {split: read_annotations(place).table.cleaned() for split, place in located.places.items()}
    pictures = pictures_of(tables[shown], located.places[shown].images, images, seed)
    counted = ", ".join(f"{split} {len(table.file_names)}" for split, table in tables.items())
    title = f"{located.name}   ·   images: {counted}   ·   shown: {len(pictures)} of {shown}"
    objects = {split: objects_of(table) for split, table in tables.items()}
    path = out or new_path(Path(f"data-{located.name}.png"))
    save(draw(title, pictures, objects, list(tables[shown].classes.values())), path)
    click.echo(f"picture: {path}")


def _is_path(data: str, root: Path | None) -> bool:
    return data not in DATASETS and root is None and Path(data).exists()


def _sound(data: str, root: Path | None) -> Located:
    """A data set, whatever splits it has, without faults that forbid reading it; its warnings are said."""
    with data_progress() as progress:
        located = locate(data, root, progress=progress)
    report = check(located)
    refuse(found for found in report.errors if found.code != "missing-split")
    for warning in report.warnings:
        click.echo(f"detassign: warning: {printable(warning)}", err=True)
    return located


def _tell(written: Written, form: str, out: Path) -> None:
    table(["split", "images", "boxes"], [(split, *counts) for split, counts in written.counts.items()])
    if written.lost:
        click.echo(f"not kept, since the form has no place for them: {', '.join(written.lost)}")
    click.echo(f"data set ({form}): {out}")


def _show(report: Report) -> None:
    if report.statistics:
        splits = list(report.statistics)
        rows = [_flat(statistics) for statistics in report.statistics.values()]
        names = dict.fromkeys(name for row in rows for name in row)
        table([report.name, *splits], [[name, *(row.get(name, "-") for row in rows)] for name in names])
    for kind, findings in (("error", report.errors), ("warning", report.warnings), ("remark", report.remarks)):
        for found in findings:
            click.echo(printable(f"{kind}: {found}"))
    click.echo(printable(f"{report.name}: {len(report.errors)} errors, {len(report.warnings)} warnings"))


def _flat(statistics: dict[str, Any], above: str = "") -> dict[str, str]:
    """Statistics with nested names joined, numbers as text."""
    rows: dict[str, str] = {}
    for name, value in statistics.items():
        words = f"{above}{name.replace('_', ' ')}"
        if isinstance(value, dict):
            rows.update(_flat(value, f"{words}: "))
        else:
            rows[words] = f"{value:.3g}" if isinstance(value, float) else str(value)
    return rows

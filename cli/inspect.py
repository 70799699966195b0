"""`detassign inspect`."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import click

from ..engine.files import check_files
from . import completion
from .common import (
    data_option,
    data_root_option,
    images_option,
    import_option,
    options,
    trust_option,
)

ASKED = ("assigners", "detector", "run", "checkpoint", "diff", "why", "out", "json_file", "outputs", "theme", "seed")


@click.command("inspect")
@options(data_option, data_root_option, images_option)
@click.option("--image", metavar="N|FILE", help="Index in the split, or a file's name; the first if left out.")
@click.option(
    "--split",
    type=click.Choice(["val", "train", "test"]),
    help="val if left out; without --image, statistics over all its images.",
)
@click.option(
    "--assigners",
    metavar="A,B,...",
    shell_complete=completion.assigner,
    help="Each as --assigner of train; fcos,atss,dw if left out, and a query detector's own.",
)
@click.option(
    "--detector",
    metavar="NAME",
    shell_complete=completion.detectors,
    help="Use its strides and input size; else strides 8 to 128, stored size.",
)
@click.option(
    "--run",
    type=click.Path(path_type=Path),
    shell_complete=completion.run,
    help="A trained run: show the assigners on its predictions.",
)
@click.option(
    "--checkpoint",
    metavar="best|last|FILE[,FILE]",
    help="Of the run; of two, where they disagree under one assigner, the run's own if left out.",
)
@click.option(
    "--diff",
    nargs=2,
    metavar="A B",
    shell_complete=completion.assigner,
    help="Where two assigners disagree on the same predictions.",
)
@click.option(
    "--why", metavar="IMAGE:OBJECT", help="Why an object, counted from 0, has its samples; prints words and a table."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The picture (.png, .pdf, .svg) or page (.html), which is replaced; a new inspect-IMAGE.png if left out.",
)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the numbers here.")
@click.option(
    "--outputs",
    is_flag=True,
    help="Of a query detector's run: what every output learns, those that only train among them.",
)
@click.option(
    "--telemetry", is_flag=True, help="Of a run with --telemetry: whom it served, and how steadily, by epoch."
)
@click.option(
    "--theme",
    type=click.Choice(["dark", "light"]),
    help="Of the ground; dark if left out, and in a page the reader's own.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the simulated predictions.")
@import_option
@trust_option
def command(
    image: str | None, split: str | None, telemetry: bool, imports: tuple[str, ...], trust: bool, **given: Any
) -> None:
    """Show which point or query learns which object, and how strongly.

    Draws the weights w⁺, w⁻ and w° of every pyramid level that has any over the image, small objects enlarged besides, and
    counts what each object gets. Without --run the predictions are simulated: boxes that err more the farther a point is
    from its object's centre and the less its level suits the object's size, and scores that follow the boxes. Assigners are
    as at the end of a training.

    Of a trained query detector it draws, layer by layer, which query is matched with which object, the way of those
    queries through the image, and the terms of what each match costs. With --outputs it draws which queries learn which
    object in every output of the training, denoising and extra queries among them, under any assigner. With --telemetry it
    shows, epoch by epoch, what a training with --telemetry wrote down; no image is opened then.

    An --out that ends in .html is a page, one file that needs no other: whichever object is pointed at, or reached with the
    keyboard, shows its samples on the picture and their weights, scores, IoU and costs beside it.

    --diff shows where two assigners disagree, --why what became of one object's candidates, and --split without --image
    what several assigners give the objects of a whole split, by size.

    \b
    detassign inspect --data synthetic --image 0 --assigners fcos,atss,dw
    detassign inspect --data synthetic --image 0 --out page.html
    detassign inspect --data synthetic --image 0 --diff atss dw
    detassign inspect --data synthetic --why 0:2 --assigners atss,dw
    detassign inspect --data synthetic --split val --assigners fcos,atss,dw
    detassign inspect --run runs/dino_r18_tiny-hungarian-synthetic --image 3
    detassign inspect --run runs/dino_r18_tiny-h_detr-hungarian-synthetic --outputs
    detassign inspect --run runs/mine --checkpoint epoch_3.pth,epoch_12.pth --image 3
    """
    if telemetry:
        _show_telemetry(given["run"], given["out"], given["json_file"])
        return
    from ..engine.inspecting.asked import asked
    from ..engine.inspecting.subject import find_subject

    wanted = asked(image, split, **{name: given.pop(name) for name in ASKED})
    subject = find_subject(wanted, imports=imports, trust=trust, **given)
    import_module(f".inspect_{wanted.question}", __package__).answer(wanted, subject)


def _show_telemetry(run: Path | None, out: Path | None, json_file: Path | None) -> None:
    if run is None:
        raise ValueError("--telemetry: name the run's folder with --run")
    from .inspect_telemetry import show

    check_files(out, json_file)
    show(run, out, json_file)

"""`detassign bench predict`."""

from __future__ import annotations

from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import click

from ..engine.files import check_files
from .bench_conditions import PRECISIONS, device_name, require, size_of, tell_absent
from .common import choose, choose_among
from .rows import keep_rows
from .tables import say, table


@click.command("predict")
@click.option(
    "--families", default="fcos,detr,deformable_detr,dino", show_default=True, metavar="A,B,…",
    help="Also deformable_detr_two_stage, conditional_detr, dab_detr, atss, gfl, tood, autoassign, dw, retinanet.",
)  # fmt: skip
@click.option(
    "--forms", default="eager,compiled,onnx", show_default=True, metavar="A,B,…",
    help="As the models are, by torch.compile, and ours as an exported file.",
)  # fmt: skip
@click.option("--size", default="640x640", show_default=True, metavar="HEIGHTxWIDTH", help="Of the images, pixels.")
@click.option("--batch-sizes", default="1,4", show_default=True, metavar="N,M,…")
@click.option(
    "--precision", "precisions", default="float32,bfloat16", show_default=True, metavar="A,B",
    help="Of the network, on all sides.",
)  # fmt: skip
@click.option("--steps", type=click.IntRange(min=1), default=7, show_default=True, help="Behind each median.")
@click.option("--threads", type=click.IntRange(min=1), default=2, show_default=True)
@click.option("--device", default="cpu", show_default=True, metavar="NAME", help="cpu or cuda[:index].")
@click.option("--out", type=click.Path(path_type=Path), help="Also write the rows to this JSON file.")
def command(
    families: str,
    forms: str,
    size: str,
    batch_sizes: str,
    precisions: str,
    steps: int,
    threads: int,
    out: Path | None,
    **given: Any,
) -> None:
    """Measure images a second beside mmdet's, torchvision's and Hugging Face's own models, in one process, taking turns.

    From pictures on the host to detections, R50 with random weights. Peers whose package is not installed are named and left
    out, and so is what torch cannot compile or export. On a CPU mmdet is measured as it comes, with deformable attention in
    plain torch, and with this project's kernel; its TOOD runs on this project's deformable convolution, which serves mmcv's.

    \b
    detassign bench predict --families fcos,detr --forms eager --precision float32
    detassign bench predict --batch-sizes 1 --threads 1 --out predict.json
    """
    import torch

    from ..bench.predict.rows import LEGEND, measure
    from ..bench.step.conditions import Conditions
    from ..engine.device import device_of
    from ..engine.runner import calm

    names, kinds = choose(families), choose(forms)
    check_files(out)
    if device_of(given).type == "cuda":
        require("cuda")
    torch.set_num_threads(threads)
    common = {"size": size_of(size), "steps": steps, **given}
    every = [
        Conditions(batch=batch, precision=precision, **common)
        for batch, precision in product(_batches(batch_sizes), choose_among(PRECISIONS, precisions, "--precision"))
    ]
    described = {**every[0].to_dict(), "device": device_name(every[0].device)}
    for varied in ("batch", "precision", "objects"):
        del described[varied]
    absent: list[str] = []
    measured = measure(names, kinds, every, partial(tell_absent, absent))
    with calm():
        rows = keep_rows(measured, _brief, out, {"conditions": described, "left_out": absent})
    columns = ["family", "side", "form", "batch", "precision", "images a second", "CPU s", "time", "CPU time"]
    table(columns, [_texts(row) for row in rows])
    say(LEGEND)
    if out:
        click.echo(str(out))


def _brief(row: Any) -> str:
    return f"{row.family} by {row.side}, {row.form}: {1 / row.seconds:.3g} images a second"


def _texts(row: Any) -> list[str]:
    shares = ["" if share is None else f"{share:.2f}" for share in (row.ratio, row.cpu_ratio)]
    speed = [f"{1 / row.seconds:.3g}", f"{row.cpu_seconds:.3g}"]
    return [row.family, row.side, row.form, str(row.batch), row.precision, *speed, *shares]


def _batches(text: str) -> list[int]:
    sizes = choose(text)
    wrong = next((each for each in sizes if not each.isdigit() or not 1 <= int(each) <= 1024), None)
    if wrong is not None or not sizes:
        raise click.BadParameter(f"expected numbers from 1 to 1024, got {wrong or text!r}", param_hint="--batch-sizes")
    return [int(each) for each in sizes]

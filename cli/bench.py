"""`detassign bench`."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import click

from ..engine.files import check_files
from . import completion
from .bench_conditions import PRECISIONS, device_name, require, size_of, tell_absent
from .bench_evaluation import command as evaluation
from .bench_grid import command as assigners
from .bench_loop import command as loop
from .bench_predict import command as predict
from .bench_report import compare, report
from .common import choose, choose_among
from .rows import keep_rows
from .tables import say, table

LEAST_SHARE = 0.005  # of a step, of operators that are shown


@click.group("bench")
def command() -> None:
    """Compare under equal conditions.

    \b
    detassign bench assigners --detector fcos_tiny --assigners fcos,atss,dw --epochs 2
    """


for each in (assigners, report, compare, evaluation, loop, predict):
    command.add_command(each)


@command.command("ops")
@click.option("--repeats", type=click.IntRange(min=1), default=5, show_default=True, help="Runs behind each median.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option(
    "--dtype", "dtypes", default="float32,bfloat16", show_default=True, metavar="A,B,…",
    help="float32, float16, bfloat16; of what attention and dropout take.",
)  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), help="Also write everything to this JSON file.")
def ops(repeats: int, device: str, dtypes: str, out: Path | None) -> None:
    """Measure the compiled ops beside their peers, as ratios in one run.

    Attention is also set against the time that moving its bytes, or its multiply-adds alone, would take at the best that
    this machine shows in a copy and in a product of matrices. On a GPU the times are the GPU's own, from cold caches;
    on a CPU caches are warm, which can beat the floor of a small case, and attention's peak memory is taken too.

    \b
    detassign bench ops --repeats 3
    detassign bench ops --device cuda --dtype float32,float16,bfloat16
    """
    from ..bench.ceilings import measure_ceilings
    from ..bench.clocks import clock_of
    from ..bench.comparison import measure
    from ..bench.ops import comparisons
    from ..bench.ops_report import legend, tables
    from ..engine.progress import progress_bar

    check_files(out)
    planned, rows = comparisons(choose_among((*PRECISIONS, "float16"), dtypes, "--dtype"), device), []
    require(device)
    ceilings = measure_ceilings(device)
    with progress_bar("bench ops", len(planned)) as advance:
        for row in measure(planned, ceilings, repeats, clock_of(device)):
            rows.append(row)
            advance()
    for title, columns, texts in tables(rows):
        table(columns, texts, title)
    say(legend(ceilings))
    if out:
        _write(device, ceilings, rows, out)


def _write(device: str, ceilings: Any, rows: list[Any], path: Path) -> None:
    from ..bench import gpu
    from ..engine.files import write_json
    from ..engine.provenance import processor

    machine = gpu.hardware() if device == "cuda" else {"device": processor()}
    write_json({**machine, "ceilings": asdict(ceilings), "rows": [row.to_dict() for row in rows]}, path)
    click.echo(str(path))


@command.command("train-step")
@click.option(
    "--families",
    default="dino,deformable_detr,detr,conditional_detr,fcos,dw",
    show_default=True,
    metavar="A,B,…",
    help="Also deformable_detr_two_stage, dab_detr, and under other assigners atss, gfl, tood, autoassign, retinanet.",
)
@click.option("--size", default="320x416", show_default=True, metavar="HEIGHTxWIDTH", help="Of the images, pixels.")
@click.option("--batch-size", type=click.IntRange(min=1), default=2, show_default=True)
@click.option("--objects", type=click.IntRange(min=0), default=20, show_default=True, help="In every image.")
@click.option("--steps", type=click.IntRange(min=1), default=7, show_default=True, help="Behind each median.")
@click.option("--threads", type=click.IntRange(min=1), default=2, show_default=True)
@click.option("--device", default="cpu", show_default=True, metavar="NAME", help="cpu or cuda[:index].")
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default="float32",
    show_default=True,
    help="Of the network; of the peers' too, without --peer-precision.",
)
@click.option(
    "--peer-precision",
    metavar="A,B",
    help="Of the peers, where it is not --precision; 'float32,bfloat16' measures each in both.",
)
@click.option(
    "--schemes",
    metavar="A,B,…",
    shell_complete=completion.schemes,
    help="Measure these on --detector beside the detector alone; see 'detassign list schemes'.",
)
@click.option(
    "--detector",
    metavar="NAME",
    default="dino_r18_tiny",
    show_default=True,
    shell_complete=completion.detectors,
    help="With --schemes.",
)
@click.option(
    "--telemetry",
    metavar="A,B,…",
    help="Measure what telemetry costs these, each a detector or DETECTOR:ASSIGNER.",
)
@click.option(
    "--operators",
    metavar="FAMILY",
    help="Tell where the step of one of ours goes, by operator, instead of measuring it beside peers.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Also write the rows to this JSON file.")
def train_step(
    families: str,
    size: str,
    steps: int,
    threads: int,
    out: Path | None,
    batch_size: int,
    peer_precision: str | None,
    schemes: str | None,
    detector: str,
    telemetry: str | None,
    operators: str | None,
    **given: Any,
) -> None:
    """Measure training steps beside mmdet's, torchvision's and Hugging Face's own models, in one process, taking turns.

    Peers whose package is not installed are named and left out. On a CPU mmdet is measured as it comes, with deformable
    attention in plain torch, and with this project's kernel; its TOOD runs on this project's deformable convolution, which
    serves mmcv's. With --schemes a detector is measured beside itself under each of them: what they cost in training, and that
    inference is free. With --telemetry it is measured what the train command's --telemetry adds to a step, with --operators by
    which operators our own step takes its time.

    \b
    detassign bench train-step --families detr,fcos --steps 3
    detassign bench train-step --families fcos,dw --precision bfloat16 --threads 1 --peer-precision float32,bfloat16
    detassign bench train-step --telemetry fcos_tiny,fcos_tiny:dw,dino_r18_tiny
    detassign bench train-step --schemes group,h_detr --detector dino_r18_tiny
    detassign bench train-step --operators dino --precision bfloat16 --threads 1 --steps 2
    """
    import torch

    from ..bench.step.conditions import Conditions
    from ..engine.device import device_of

    if peer_precision and (schemes or telemetry or operators):
        raise click.UsageError("--peer-precision is of peers, and --schemes, --telemetry and --operators measure none")
    chosen = choose(families)
    check_files(out)
    if device_of(given).type == "cuda":
        require("cuda")
    torch.set_num_threads(threads)
    peers = tuple(choose_among(PRECISIONS, peer_precision, "--peer-precision")) if peer_precision else ()
    conditions = Conditions(size=size_of(size), batch=batch_size, steps=steps, peer_precisions=peers, **given)
    described = {**conditions.to_dict(), "device": device_name(conditions.device)}
    if schemes:
        _schemes(detector, choose(schemes), conditions, described, out)
    elif telemetry:
        _telemetry(choose(telemetry), conditions, described, out)
    elif operators:
        _operators(operators, conditions, described, out)
    else:
        _beside_peers(chosen, conditions, described, out)


def _beside_peers(families: list[str], conditions: Any, described: dict[str, Any], out: Path | None) -> None:
    from ..bench.step.rows import LEGEND, measure
    from ..engine.runner import calm

    absent: list[str] = []
    measured = measure(families, conditions, partial(tell_absent, absent))
    with calm():
        rows = keep_rows(measured, _beside, out, {"conditions": described, "left_out": absent})
    columns = ["family", "peer", "ours, s", "peer, s", "time", "CPU time", "memory", "MiB", "supervision", "waits"]
    table(columns, [_step_row(row) for row in rows])
    say(LEGEND)
    if out:
        click.echo(str(out))


def _schemes(detector: str, names: list[str], conditions: Any, described: dict[str, Any], out: Path | None) -> None:
    from ..bench import schemes

    def tell(row: Any) -> str:
        return f"{row.scheme}: {row.seconds / row.plain_seconds:.2f} of the time of {detector}"

    about = {"detector": detector, "conditions": described}
    rows = keep_rows(schemes.measure(detector, names, conditions), tell, out, about)
    columns = ["scheme", "matches", "parameters", "step, s", "plain, s", "time", "MiB", "memory", "inference"]
    table(columns, [_scheme_row(row) for row in rows], title=f"{detector}, and what schemes make of it")
    say(
        "matches: pairs per object in the last layer of every output, denoising left out. parameters: that only training has. "
        "time, memory, inference: shares of the plain detector's."
    )
    if out:
        click.echo(str(out))


def _telemetry(names: list[str], conditions: Any, described: dict[str, Any], out: Path | None) -> None:
    from ..bench import telemetry_cost

    measured = telemetry_cost.measure(names, conditions)
    rows = [row.to_dict() for row in keep_rows(measured, _cost, out, {"conditions": described})]
    columns = [
        "detector",
        "assigner",
        "pairs",
        "step, ms",
        "look, ms",
        "of its step",
        "of all steps",
        "probe, ms an image",
    ]
    table(columns, [_cost_row(row) for row in rows])
    say(
        "look: what telemetry adds to every fifth step. Medians; on a CPU of its time, which other work changes little."
    )
    if out:
        click.echo(str(out))


def _operators(family: str, conditions: Any, described: dict[str, Any], out: Path | None) -> None:
    from ..bench.step.families import OURS, make_side
    from ..bench.step.operators import operator_times
    from ..engine.files import write_json
    from ..engine.runner import calm

    with calm():
        times = operator_times(make_side(family, OURS, conditions), conditions)
    if out:
        write_json({"family": family, "conditions": described, "operators": [each.to_dict() for each in times]}, out)
    shown = [each for each in times if each.share >= LEAST_SHARE]
    rows = [
        [each.operator, f"{100 * each.share:.1f} %", f"{1000 * each.seconds:.3g}", f"{each.calls:g}"] for each in shown
    ]
    rest = f"{len(times) - len(shown)} others"
    table(
        ["operator", "share", "ms", "calls"],
        [*rows, [rest, f"{100 * (1 - sum(each.share for each in shown)):.1f} %", "", ""]],
    )
    say("Each operator's own time, without that of those it calls; a profiler adds some to every call.")
    if out:
        click.echo(str(out))


def _beside(row: Any) -> str:
    return f"{row.family} beside {row.peer}: {row.ratio:.2f} of its time"


def _cost(row: Any) -> str:
    of_all = row.to_dict()["share_of_run"]
    return f"{row.detector}, {row.assigner or 'its own assigner'}: {100 * of_all:.2f} % is what telemetry adds"


def _cost_row(row: dict[str, Any]) -> list[str]:
    step, look, image = (f"{1000 * row[name]:.3g}" for name in ("step", "look", "image"))
    shares = [f"{100 * row[name]:.2f} %" for name in ("share", "share_of_run")]
    return [row["detector"], row["assigner"] or "its own", str(row["pairs"]), step, look, *shares, image]


def _scheme_row(row: Any) -> list[str]:
    ratios = row.to_dict()
    return [
        row.scheme,
        f"{row.matches:.2f}",
        f"{row.parameters:,}",
        f"{row.seconds:.3f}",
        f"{row.plain_seconds:.3f}",
        f"{ratios['ratio']:.2f}",
        f"{row.memory / 2**20:.0f}",
        f"{ratios['memory_ratio']:.2f}",
        f"{ratios['inference_ratio']:.2f}",
    ]


def _step_row(row: Any) -> list[str]:
    ratios = [f"{ratio:.2f}" for ratio in (row.ratio, row.cpu_ratio, row.memory_ratio)]
    times = [f"{row.seconds:.2f}", f"{row.peer_seconds:.2f}"]
    waits = " : ".join("?" if count is None else str(count) for count in (row.waits, row.peer_waits))
    cost = [f"{row.memory / 2**20:.0f}", f"{100 * row.supervision_share:.1f} %", waits]
    return [row.family, row.peer, *times, *ratios, *cost]

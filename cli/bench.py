"""`detassign bench`."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import click

from .common import choose, data_option, data_root_option, images_option, new_run_folder, options, run_options, table


@click.group("bench")
def command() -> None:
    """Compare under equal conditions.

    \b
    detassign bench assigners --detector fcos_tiny --assigners fcos,atss,dw --epochs 2
    """


@command.command("assigners")
@click.option("--detector", default="fcos_tiny", show_default=True, metavar="NAME")
@click.option("--assigners", default="fcos,atss,dw", show_default=True, metavar="A,B,…", help="See 'detassign list'.")
@options(data_option, data_root_option, images_option)
@click.option(
    "--seeds", default="0", show_default=True, metavar="N,N,…", help="Each assigner is trained once per seed."
)
@run_options
@click.option(
    "--work-dir", type=click.Path(path_type=Path), help="Folder of the comparison; going on there resumes it."
)
@click.option("--quiet", is_flag=True, help="No progress bars.")
def assigners(assigners: str, seeds: str, work_dir: Path | None, quiet: bool, **given: Any) -> None:
    """Train one detector under several assigners and compare them.

    An interrupted comparison goes on where it stopped when it is started again with the same --work-dir.

    \b
    detassign bench assigners --detector fcos_tiny --assigners fcos,atss,dw --epochs 2
    """
    from ..bench.assigners import compare, plan, results
    from ..bench.report import LEGEND, cells, rows, write_report
    from .configs import resolve_config

    names = choose(assigners)
    configs = {name: resolve_config(None, assigner=name, seed=None, **given) for name in names}
    folder = work_dir or new_run_folder(f"bench-{given['detector']}")
    folder.mkdir(parents=True, exist_ok=True)
    planned = plan(configs, _seeds(seeds), folder)
    failed = compare(planned, lambda text: click.echo(text, err=True), quiet)

    finished = results(planned)
    if finished:
        first = configs[names[0]]
        paths = write_report(finished, _conditions(first, given["detector"]), folder)
        table(*cells(rows(finished)))
        click.echo(LEGEND)
        click.echo("\n".join(str(path) for path in paths.values()))
    if failed:
        raise ValueError(
            f"{len(failed)} of {len(planned)} runs failed ({', '.join(f'{c.assigner} seed {c.seed}' for c in failed)}); "
            f"their logs are in {folder / 'cells'}; the same command goes on from here"
        )


def _seeds(text: str) -> list[int]:
    chosen = choose(text)
    wrong = [seed for seed in chosen if not seed.isdigit()]
    if wrong:
        raise click.BadParameter(f"expected whole numbers, got {wrong[0]!r}", param_hint="--seeds")
    return [int(seed) for seed in chosen]


def _conditions(config: dict[str, Any], detector: str) -> dict[str, Any]:
    """What held for every run."""
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() and config["device"] != "cpu" else processor()
    return {
        "detector": detector,
        "data": config["data"]["name"],
        "epochs": config["schedule"]["epochs"],
        "batch": config["schedule"]["batch_size"],
        "scale": "x".join(map(str, config["input"]["scale"])),
        "detections per image at most": config["evaluation"]["max_detections"],
        "device": device,
        "torch": torch.__version__,
    }


def processor() -> str:
    """The processor's name and the threads used."""
    import torch

    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name}, {torch.get_num_threads()} threads"


@command.command("ops")
@click.option("--repeats", type=click.IntRange(min=1), default=5, show_default=True, help="Runs behind each median.")
@click.option("--out", type=click.Path(path_type=Path), help="Also write the rows to this JSON file.")
def ops(repeats: int, out: Path | None) -> None:
    """Measure the compiled ops beside their peers on the CPU, as ratios in one run.

    \b
    detassign bench ops --repeats 3
    """
    from ..bench.ops import measure
    from ..engine.files import write_json
    from ..engine.hooks import ProgressBar

    rows = []
    with ProgressBar.images("bench ops", 12) as advance:
        for row in measure(repeats):
            rows.append(row)
            advance()
    columns = ["op", "case", "pass", "ours, ms", "peer", "peer, ms", "times faster"]
    table(
        columns, [[r.op, r.case, r.pass_, _ms(r.seconds), r.peer, _ms(r.peer_seconds), f"{r.ratio:.1f}"] for r in rows]
    )
    if out:
        write_json({"device": processor(), "rows": [row.to_dict() for row in rows]}, out)
        click.echo(str(out))


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.2f}"

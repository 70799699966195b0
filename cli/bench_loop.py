"""`detassign bench loop`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .common import choice_options, run_options, trust_option
from .tables import say, table


@click.command("loop")
@click.argument("config", required=False)
@choice_options
@run_options
@trust_option
@click.option("--threads", type=click.IntRange(min=1), help="As many as torch takes if left out.")
@click.option("--out", type=click.Path(path_type=Path), help="Also write the seconds to this JSON file.")
@click.option("--quiet", is_flag=True, help="No progress.")
def command(config: str | None, threads: int | None, out: Path | None, quiet: bool, **given: Any) -> None:
    """Train from beginning to end and tell where the time goes; nothing stays of the run.

    CONFIG and options are those of the train command; one epoch is trained if --epochs is left out, and nothing is told to the
    trackers of --log, which would keep it.

    \b
    detassign bench loop --detector fcos_tiny --assigner dw --images 200
    detassign bench loop --data my/folder --detector fcos_mobilenetv2 --set input.workers=2
    """
    import torch

    from ..bench.loop import PARTS, measure
    from ..engine.files import check_files, write_json
    from ..engine.precision import precision_of
    from ..engine.provenance import processor
    from ..engine.resolving import resolve_config

    check_files(out)
    if threads:
        torch.set_num_threads(threads)
    resolved = resolve_config(config, **{**given, "epochs": given["epochs"] or 1})
    seconds = measure(resolved, quiet)
    whole = sum(seconds.values())
    rows = [[name, f"{value:.2f}", f"{100 * value / whole:.1f} %", PARTS[name]] for name, value in seconds.items()]
    table(["part", "seconds", "share", "what it is"], [*rows, ["all", f"{whole:.2f}", "100.0 %", ""]], resolved["name"])
    facts = {
        "name": resolved["name"],
        "epochs": resolved["schedule"]["epochs"],
        "batch_size": resolved["schedule"]["batch_size"],
        "workers": resolved["input"].get("workers"),
        "precision": precision_of(resolved).name,
        "processor": processor(),
        "threads": torch.get_num_threads(),
    }
    say("; ".join(f"{name} {value}" for name, value in facts.items() if value is not None))
    if out:
        write_json({**facts, "seconds": seconds}, out)
        click.echo(str(out))

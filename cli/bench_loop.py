"""`detassign bench loop`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .bench_conditions import device_name
from .common import choice_options, run_options, trust_option
from .tables import say, table


@click.command("loop")
@click.argument("config", required=False)
@choice_options
@run_options
@trust_option
@click.option("--threads", type=click.IntRange(min=1), help="As many as torch takes if left out.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Also write the parts, and what they hold for, to this JSON file."
)
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
    from ..engine.resolving import resolve_config

    check_files(out)
    if threads:
        torch.set_num_threads(threads)
    resolved = resolve_config(config, **{**given, "epochs": given["epochs"] or 1})
    seconds = measure(resolved, quiet)
    whole = sum(seconds.values())
    shares = {name: value / whole for name, value in seconds.items()}
    rows = [[name, f"{value:.2f}", f"{100 * shares[name]:.1f} %", PARTS[name]] for name, value in seconds.items()]
    table(["part", "seconds", "share", "what it is"], [*rows, ["all", f"{whole:.2f}", "100.0 %", ""]], resolved["name"])
    facts, precision = _facts(resolved), precision_of(resolved)
    told = {**facts, "precision": precision}
    say("; ".join(f"{name} {value}" for name, value in told.items() if value is not None))
    if out:
        write_json({**facts, "precision": precision.name, "seconds": seconds, "shares": shares}, out)
        click.echo(str(out))


def _facts(resolved: dict[str, Any]) -> dict[str, Any]:
    """What the seconds hold for; the name says detector and assigner."""
    import torch

    from ..data.reader import load_split
    from ..engine.config import source_of
    from ..engine.device import device_of
    from ..engine.provenance import processor

    source, device = source_of(resolved), device_of(resolved)
    images = {split: len(load_split(source, split).image_ids) for split in ("train", "val")}
    return {
        "name": resolved["name"],
        "data": source.name,
        "images_to_learn_from": images["train"],
        "images_to_measure_on": images["val"],
        "epochs": resolved["schedule"]["epochs"],
        "batch_size": resolved["schedule"]["batch_size"],
        "workers": resolved["input"].get("workers"),
        "device": device_name(str(device)) if device.type == "cuda" else device.type,
        "processor": processor(),
        "threads": torch.get_num_threads(),
    }

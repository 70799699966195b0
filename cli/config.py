"""`detassign config`."""

from __future__ import annotations

from typing import Any

import click

from ..data.files import json_text
from . import completion
from .common import choice_options, run_options, trust_option


@click.command("config")
@click.argument("config", required=False, shell_complete=completion.config)
@choice_options
@run_options
@trust_option
def command(config: str | None, **given: Any) -> None:
    """Print the resolved config that the same options of `train` would run, as JSON.

    \b
    detassign config --detector fcos_tiny --assigner dw --set model.head.stacked_convs=1
    """
    from ..engine.resolving import resolve_config

    click.echo(json_text(resolve_config(config, **given), indent=2))

"""`detassign doctor --ops`: mmcv's compiled ops, what serves each here, and who needs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click


def examine_ops() -> dict[str, dict[str, Any]]:
    """Op -> what serves it, or None, and the configs of mmdet whose models need it.

    Raises:
        click.ClickException: when mmcv or mmdet is not installed or cannot be read.
    """
    click.echo("reading the source of mmcv and mmdet", err=True)
    try:
        from ..compat.op_coverage import op_coverage

        return {op: coverage._asdict() for op, coverage in op_coverage().items()}
    except Exception as error:  # whatever is broken is what a doctor is asked about
        remedy = "pip install 'detassign[full]'" if isinstance(error, ImportError) else "reinstall mmcv-lite and mmdet"
        raise click.ClickException(f"{error}, so mmcv's ops are not known: {remedy}") from error


def rows_of_ops(found: dict[str, dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Op, what serves it and who needs it; those that are needed first, then the others that are served."""
    rank = sorted(found, key=lambda op: (not found[op]["configs"], not found[op]["served_by"], op))
    return [(op, found[op]["served_by"] or "not served", _need(found[op]["configs"])) for op in rank]


def verdict(found: dict[str, dict[str, Any]]) -> str:
    """One sentence: how many are served, and which families of mmdet need one that is not."""
    served = sum(coverage["served_by"] is not None for coverage in found.values())
    lacking = [config for coverage in found.values() if not coverage["served_by"] for config in coverage["configs"]]
    if not any(coverage["configs"] for coverage in found.values()):
        return f"{served} of {len(found)} ops are served; mmdet is installed without its configs, so who needs which is open"
    need = (
        f"these need one that is not: {', '.join(_families(lacking))}"
        if lacking
        else "no config of mmdet needs another"
    )
    return f"{served} of {len(found)} ops are served; {need}"


def _need(configs: Sequence[str]) -> str:
    families = _families(configs)
    if not configs:
        return "-"
    number = f"{len(configs)} config{'s' if len(configs) > 1 else ''}"
    return f"{number}: {', '.join(families)}" if len(families) <= 2 else f"{number} of {len(families)} families"


def _families(configs: Sequence[str]) -> list[str]:
    """The folders that the configs lie in."""
    return sorted({config.partition("/")[0] for config in configs})

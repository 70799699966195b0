"""`detassign check`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from ..data.files import json_text
from .common import import_option
from .tables import table

if TYPE_CHECKING:
    from ..assigners.laws import Outcome


@click.command("check")
@click.argument("targets", nargs=-1, required=True, metavar="FILE|MODULE|SPEC...")
@click.option("--seeds", type=click.IntRange(min=1), default=8, show_default=True, help="Random batches for each law.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@import_option
def command(targets: tuple[str, ...], seeds: int, as_json: bool, imports: tuple[str, ...]) -> int:
    """Hold assigners and parts of your own to the laws that every assigner here keeps.

    Of a file, or a module, everything is checked that it registers: presets as they are, parts in the plainest assigner
    that takes them. A spec is checked as it is. The exit status is 1 where a law is broken.

    \b
    detassign check mine.py
    detassign check 'mine.py:nearest(k=3)+dual' atss+focal
    """
    from ..assigners.laws import LAWS
    from ..engine.imports import load_named

    load_named(imports)
    specs = {label: spec for target in targets for label, spec in _specs(target).items()}
    outcomes = _outcomes(specs, seeds)
    broken = [(label, one) for label, found in outcomes.items() for one in found if not one.holds]
    if as_json:
        click.echo(json_text({label: list(map(asdict, found)) for label, found in outcomes.items()}, indent=2))
        return int(bool(broken))
    columns = [["holds" if one.holds else "BROKEN" for one in found] for found in outcomes.values()]
    table(["law", *outcomes], list(zip(map(_words, LAWS), *columns, strict=True)))
    measured = [(label, one) for label, found in outcomes.items() for one in found if one.holds and one.found]
    table(["of", "law", "measured"], [(label, _words(one.law), one.found) for label, one in measured])
    if broken:
        rows = [(label, LAWS[one.law].claim, one.found) for label, one in broken]
        table(["broken by", "what should hold", "found"], rows)
    return int(bool(broken))


def _specs(target: str) -> dict[str, Any]:
    """What to check for one target, by what to call it.

    Raises:
        ValueError: for a file or module that registers nothing that laws speak of, and for a spec that is none.
    """
    from ..assigners import ASSIGNERS, spec
    from ..assigners.building import assigner_spec
    from ..assigners.laws import left_out, specs_around
    from ..engine.imports import load_named

    is_file = target.endswith(".py")
    if is_file or ("." in target and target.replace(".", "").isidentifier()):
        load_named([target])
        module = spec.module_name(target) if is_file else target
        for label, reason in left_out(module).items():
            click.echo(f"detassign: {label} is not checked: {reason}", err=True)
        found = specs_around(module)
        if not found:
            raise ValueError(f"{target}: registers no assigner or part that a law can be tried on")
        return found
    load_named(spec.files(target))
    if target.isidentifier() and target not in ASSIGNERS:
        raise ValueError(f"{target!r} is no assigner; check a part as matching+weighting, or a file with its .py")
    return {spec.label(target): assigner_spec(target)}


def _outcomes(specs: Mapping[str, Any], seeds: int) -> dict[str, Sequence[Outcome]]:
    """The outcomes of all laws for each spec, with a bar while it takes."""
    from ..assigners.laws import LAWS, check_assigner
    from ..engine.progress import progress_bar

    with progress_bar("check", len(specs) * len(LAWS)) as advance:
        outcomes: dict[str, list[Outcome]] = {label: [] for label in specs}
        for label, spec in specs.items():
            for law in LAWS:
                outcomes[label] += check_assigner(spec, range(seeds), [law])
                advance()
    return outcomes


def _words(name: str) -> str:
    return name.replace("_", " ")

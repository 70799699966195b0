"""`detassign inspect` of one image: a picture or a page, tables, and numbers in JSON."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..engine.files import new_path, write_json

if TYPE_CHECKING:
    from ..engine.inspecting.asked import Asked
    from ..engine.inspecting.picture import Inspection
    from ..engine.inspecting.subject import Subject


def answer(wanted: Asked, subject: Subject) -> None:
    """Draw and tell what each assigner does."""
    from ..engine.inspecting.picture import inspect_image

    found = inspect_image(wanted, subject)
    picture = write_picture(wanted, found)
    if wanted.json_file:
        write_json(found.to_dict(), wanted.json_file)
    tables = import_module(f".inspect_{subject.form.__name__.rpartition('.')[2]}", __package__)
    tables.print_tables(found.scene, found.inspections, found.origin)
    click.echo(picture)


def write_picture(wanted: Asked, found: Inspection) -> str:
    """Write it to the file that is wanted or to a new one; what is where, in words."""
    from ..engine.inspecting.picture import kind_of

    path = found.save(wanted.out or new_path(Path(f"inspect-{Path(found.scene.name).stem}.png")), wanted.theme)
    return f"{kind_of(path)}: {path}"

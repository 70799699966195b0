"""`detassign inspect` of one image: a picture or a page, tables, and numbers in JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import click

from .common import new_path
from .inspect_asked import PAGE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..data import DataSource
    from ..engine.checkpoints import Chosen
    from ..evidence.inspection.scene import Scene
    from .inspect_asked import Asked


def answer(
    wanted: Asked, form: ModuleType, config: Mapping[str, Any], checkpoints: Sequence[Chosen], source: DataSource
) -> None:
    """Draw and tell what each assigner does."""
    from ..engine.files import write_json
    from ..evidence.pages.content import content_of

    scene, origin = scene_of(wanted, config, checkpoints, source)
    inspections = form.inspections_of(wanted.specs, config, path_of(checkpoints), scene, wanted.seed)
    picture = write_picture(wanted, scene, inspections, origin, form.draw, content_of)
    if wanted.json_file:
        write_json(as_json(scene, inspections, wanted.split, origin), wanted.json_file)
    form.print_tables(scene, inspections, origin)
    click.echo(f"{kind_of(picture)}: {picture}")


def scene_of(
    wanted: Asked, config: Mapping[str, Any], checkpoints: Sequence[Chosen], source: DataSource
) -> tuple[Scene, str]:
    """The image, and where its predictions come from."""
    from ..engine.scenes import load_scene

    scene = load_scene(source, config["input"], wanted.image, wanted.split, wanted.stored_size)
    return scene, origin_of(wanted, checkpoints)


def origin_of(wanted: Asked, checkpoints: Sequence[Chosen]) -> str:
    """Where predictions come from, in words."""
    if not checkpoints:
        return f"simulated predictions, seed {wanted.seed}"
    return f"predictions of {' and '.join(map(str, checkpoints))}"


def path_of(checkpoints: Sequence[Chosen]) -> Path | None:
    """Of the one checkpoint, or none."""
    return checkpoints[0].path if checkpoints else None


def write_picture(
    wanted: Asked,
    scene: Scene,
    inspections: Sequence[Any],
    origin: str,
    draw: Callable[..., Figure],
    content: Callable[..., dict[str, Any]],
) -> Path:
    """Draw inspections, or make a page of them, by the name of the file that is wanted or of a new one."""
    from ..engine.files import write_bytes
    from ..evidence.pages.page import page

    path = wanted.out or new_path(Path(f"inspect-{Path(scene.name).stem}.png"))
    subtitle = f"{wanted.split} image {scene.index}   ·   {origin}"
    if kind_of(path) == "page":
        write_bytes(page(content(scene, inspections, subtitle), wanted.theme).encode(), path)
        return path
    return write_figure(wanted, lambda: draw(scene, inspections, subtitle), path)


def write_figure(wanted: Asked, draw: Callable[[], Figure], path: Path) -> Path:
    """Draw in the theme that is wanted, and write it whole."""
    from ..engine.files import write_whole
    from ..evidence.drawing.canvas import save
    from ..evidence.drawing.theme import themed

    with themed(wanted.theme or "dark"):
        figure = draw()
    write_whole(lambda aside: save(figure, aside, like=path), path)
    return path


def kind_of(path: Path) -> str:
    """What a file of this name is."""
    return "page" if path.suffix.lower() == PAGE else "picture"


def as_json(scene: Scene, inspections: Sequence[Any], split: str, origin: str) -> dict[str, Any]:
    """Everything about the image and its objects in plain values."""
    height, width = scene.image.shape[:2]
    boxes, labels = scene.targets.boxes[0].tolist(), scene.targets.labels[0].tolist()
    return {
        "image": scene.name,
        "index": scene.index,
        "split": split,
        "width": width,
        "height": height,
        "predictions": origin,
        "targets": [
            {
                "label": scene.classes[label],
                "box": box,
                "assigners": {inspection.name: inspection.target(index) for inspection in inspections},
            }
            for index, (box, label) in enumerate(zip(boxes, labels, strict=True))
        ],
        "assigners": {inspection.name: inspection.totals() for inspection in inspections},
    }

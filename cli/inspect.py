"""`detassign inspect`."""

from __future__ import annotations

from collections.abc import Container, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import click

from .common import (
    check_files,
    checked,
    data_option,
    data_root_option,
    images_option,
    import_option,
    new_path,
    options,
    trust_option,
)

if TYPE_CHECKING:
    from ..engine.checkpoints import Chosen
    from ..evidence.inspection.scene import Scene

DETECTOR = "fcos_r50"  # strides 8 to 128


@click.command("inspect")
@options(data_option, data_root_option, images_option)
@click.option("--image", default="0", show_default=True, metavar="N|FILE", help="Index in the split, or a file's name.")
@click.option("--split", type=click.Choice(["val", "train"]), default="val", show_default=True)
@click.option(
    "--assigners",
    metavar="A,B,...",
    help="Each as --assigner of train; fcos,atss,dw if left out, and a query detector's own.",
)
@click.option("--detector", metavar="NAME", help="Use its strides and input size; else strides 8 to 128, stored size.")
@click.option("--run", type=click.Path(path_type=Path), help="A trained run: show the assigners on its predictions.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The picture, which is replaced; a new inspect-IMAGE.png if left out.",
)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the counts here.")
@click.option(
    "--outputs",
    is_flag=True,
    help="Of a query detector's run: what every output learns, those that only train among them.",
)
@click.option(
    "--telemetry", is_flag=True, help="Of a run with --telemetry: whom it served, and how steadily, by epoch."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the simulated predictions.")
@import_option
@trust_option
def command(
    image: str,
    split: str,
    assigners: str | None,
    run: Path | None,
    out: Path | None,
    json_file: Path | None,
    outputs: bool,
    telemetry: bool,
    seed: int,
    imports: tuple[str, ...],
    trust: bool,
    **given: Any,
) -> None:
    """Show which point or query learns which object, and how strongly.

    Draws the weights w⁺, w⁻ and w° of every pyramid level over the image and counts what each object gets. Without
    --run the predictions are simulated: boxes that err more the farther a point is from its object's centre and the
    less its level suits the object's size, and scores that follow the boxes. Assigners are as at the end of a training.

    Of a trained query detector it draws, layer by layer, which query is matched with which object, the way of those
    queries through the image, and the terms of what each match costs. With --outputs it draws which queries learn which
    object in every output of the training, denoising and extra queries among them, under any assigner. With --telemetry it
    shows, epoch by epoch, what a training with --telemetry wrote down; no image is opened then.

    \b
    detassign inspect --data synthetic --image 0 --assigners fcos,atss,dw
    detassign inspect --run runs/dino_r18_tiny-hungarian-synthetic --image 3
    detassign inspect --run runs/dino_r18_tiny-h_detr-hungarian-synthetic --outputs
    """
    if telemetry:
        if run is None:
            raise ValueError("--telemetry: name the run's folder with --run")
        from .inspect_telemetry import show

        check_files(out, json_file)
        show(run, out, json_file)
        return
    from ..engine.config import find_source
    from ..engine.files import write_json
    from ..engine.scenes import load_scene
    from ..evidence.drawing.canvas import save
    from .configs import load_code

    check_files(out, json_file)
    config, chosen = _config(run, load_code(imports, assigners, {}), trust, **given)
    form = _form(config, run, given["detector"], outputs)
    stored_size = run is None and given["detector"] is None
    checked(find_source(config, [split]), [split])
    scene = load_scene(find_source(config, [split]), config["input"], image, split, stored_size)
    inspections = form.inspections_of(assigners, config, chosen and chosen.path, scene, seed)
    origin = f"simulated predictions, seed {seed}" if chosen is None else f"predictions of {chosen}"
    picture = out or new_path(Path(f"inspect-{Path(scene.name).stem}.png"))
    save(form.draw(scene, inspections, f"{split} image {scene.index}   ·   {origin}"), picture)
    if json_file:
        write_json(_as_json(scene, inspections, split, origin), json_file)
    form.print_tables(scene, inspections, origin)
    click.echo(f"picture: {picture}")


def _form(config: dict[str, Any], run: Path | None, detector: str | None, outputs: bool) -> ModuleType:
    """The module that shows detectors of this kind."""
    if "queries" not in config["model"]:
        if outputs:
            raise ValueError("--outputs: belongs to query detectors, and this is a dense one; leave it out")
        return import_module(".inspect_points", __package__)
    if run is None:
        raise ValueError(
            f"--detector {detector}: a query detector has no matches to show before it is trained; give a trained run's "
            "folder with --run"
        )
    return import_module(".inspect_outputs" if outputs else ".inspect_queries", __package__)


def _config(
    run: Path | None, code: Container[str], trust: bool, data: str | None, detector: str | None, **given: Any
) -> tuple[dict[str, Any], Chosen | None]:
    """The config that gives image size, strides and model, and the run's checkpoint."""
    from .configs import on_data, resolve_config

    nothing = {"config": None, "assigner": None, "schedule": None, "settings": ()}
    if run is None:
        return resolve_config(detector=detector or DETECTOR, data=data, **nothing, **given), None
    from ..engine.predict import find_model

    if detector:
        raise ValueError(f"--detector {detector}: the run has a detector already; leave one of the two out")
    config, chosen = find_model(run, None, trust, code)
    there = on_data(config, data, given["data_root"], given["images"])
    if there["data"]["classes"] != config["data"]["classes"]:
        raise ValueError(f"--data {data}: has the classes of the run {run} in another order; expected the same ids")
    return there, chosen


def _as_json(scene: Scene, inspections: Sequence[Any], split: str, origin: str) -> dict[str, Any]:
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

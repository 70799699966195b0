"""`detassign inspect`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .common import choose, data_option, data_root_option, images_option, options, table

if TYPE_CHECKING:
    from ..assigners import Predictions
    from ..engine.inspection import Inspection
    from ..engine.inspection_scene import Scene

ASSIGNERS = "fcos,atss,dw"
DETECTOR = "fcos_r50"  # strides 8 to 128


@click.command("inspect")
@options(data_option, data_root_option, images_option)
@click.option("--image", default="0", show_default=True, metavar="N|FILE", help="Index in the split, or a file's name.")
@click.option("--split", type=click.Choice(["val", "train"]), default="val", show_default=True)
@click.option("--assigners", default=ASSIGNERS, show_default=True, metavar="A,B,...", help="See 'detassign list'.")
@click.option("--detector", metavar="NAME", help="Use its strides and input size; else strides 8 to 128, stored size.")
@click.option("--run", type=click.Path(path_type=Path), help="A trained run: show the assigners on its predictions.")
@click.option("--out", type=click.Path(path_type=Path), help="The picture; inspect-IMAGE.png if left out.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the counts here.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the simulated predictions.")
def command(
    image: str,
    split: str,
    assigners: str,
    run: Path | None,
    out: Path | None,
    json_file: Path | None,
    seed: int,
    **given: Any,
) -> None:
    """Show which point learns which object, and how strongly.

    Draws the weights w⁺, w⁻ and w° of every pyramid level over the image and counts what each object gets. Without
    --run the predictions are simulated: boxes that err more the farther a point is from its object's centre and the
    less its level suits the object's size, and scores that follow the boxes.

    \b
    detassign inspect --data synthetic --image 0 --assigners fcos,atss,dw
    """
    from ..engine.config import source_of
    from ..engine.inspection_plot import draw
    from ..engine.inspection_scene import load_scene

    names = choose(assigners)
    _check_files(out, json_file)
    config, checkpoint = _config(run, **given)
    stored_size = run is None and given["detector"] is None
    scene = load_scene(source_of(config), config["input"], image, split, stored_size)
    predictions, score = _predictions(config, checkpoint, scene, seed)
    inspections = _inspect(names, predictions, score, scene)
    origin = f"simulated predictions, seed {seed}" if run is None else f"predictions of {run}"
    picture = out or Path(f"inspect-{Path(scene.name).stem}.png")
    draw(scene, inspections, picture, f"{split} image {scene.index}   ·   {origin}")
    if json_file:
        json_file.write_text(json.dumps(_as_json(scene, inspections, split, origin), indent=2) + "\n", encoding="utf-8")
    _print(scene, inspections, origin)
    click.echo(f"picture: {picture}")


def _check_files(*paths: Path | None) -> None:
    """Refuse before the work is done what could not be written after it."""
    for path in paths:
        if path and not path.resolve().parent.is_dir():
            raise FileNotFoundError(f"{path}: the folder {path.parent} does not exist")
        if path and path.is_dir():
            raise ValueError(f"{path}: expected a file's name, this is a folder")


def _config(
    run: Path | None, data: str | None, detector: str | None, **given: Any
) -> tuple[dict[str, Any], Path | None]:
    """The config that gives image size, strides and model, and the run's checkpoint."""
    from .configs import resolve_config

    nothing = {"config": None, "assigner": None, "schedule": None, "settings": ()}
    if run is None:
        return resolve_config(detector=detector or DETECTOR, data=data, **nothing, **given), None
    from ..engine.train import find_run

    if detector:
        raise ValueError(f"--detector {detector}: the run has a detector already; leave one of the two out")
    config, checkpoint = find_run(run)
    if data:
        other = resolve_config(detector=DETECTOR, data=data, **nothing, **given)["data"]
        if list(other["classes"]) != list(config["data"]["classes"]):
            raise ValueError(f"--data {data}: its classes are not those of the run {run}")
        config["data"] = other
    return config, checkpoint


def _predictions(config: dict[str, Any], checkpoint: Path | None, scene: Scene, seed: int) -> tuple[Predictions, Any]:
    """Predictions for the scene and the score model they are written for."""
    from ..assigners import SigmoidObjectness
    from ..engine.inspection_scene import predict_scene
    from ..engine.simulation import simulate

    if checkpoint:
        return predict_scene(config, checkpoint, scene)
    strides, shape = config["model"]["head"]["strides"], scene.image.shape[:2]
    return simulate(scene.targets, shape, strides, len(scene.classes), seed), SigmoidObjectness()


def _inspect(names: Sequence[str], predictions: Predictions, score: Any, scene: Scene) -> list[Inspection]:
    from ..assigners import build
    from ..engine.config import assigner_spec
    from ..engine.inspection import inspect, translate

    assigners = {name: build(assigner_spec(name), num_classes=len(scene.classes)) for name in names}
    return [
        inspect(name, assigner, translate(predictions, score, assigner.score), scene.targets)
        for name, assigner in assigners.items()
    ]


def _print(scene: Scene, inspections: Sequence[Inspection], origin: str) -> None:
    heads = ["object", "size", "assigner", "points", "effective", "strides", "Σw⁺", "best IoU"]
    rows = []
    for index, (name, size) in enumerate(_objects(scene)):
        shares = [inspection.targets[index] for inspection in inspections]
        cells = zip(*([i.name, *_cells(share)] for i, share in zip(inspections, shares, strict=True)), strict=True)
        rows.append([name, size, *("\n".join(column) for column in cells)])
    height, width = scene.image.shape[:2]
    table(heads, rows, title=f"{scene.name}, {width} x {height}, {origin}")
    heads = ["assigner", "objects", "without a point", "points", "per object", "effective", "Σw⁺", "Σw⁻", "Σw°"]
    table(heads, [[inspection.name, *_total_cells(inspection.totals())] for inspection in inspections])


def _objects(scene: Scene) -> list[tuple[str, str]]:
    """Class name with index and size of each object."""
    sizes = (scene.targets.boxes[0, :, 2:] - scene.targets.boxes[0, :, :2]).tolist()
    labels = scene.targets.labels[0].tolist()
    return [
        (f"{index} {scene.classes[label]}", f"{width:.0f} x {height:.0f}")
        for index, (label, (width, height)) in enumerate(zip(labels, sizes, strict=True))
    ]


def _cells(share: Any) -> list[str]:
    best = "-" if share.best_iou is None else f"{share.best_iou:.2f}"
    strides = " ".join(map(str, share.strides)) or "-"
    return [str(share.pairs), f"{share.effective:.1f}", strides, f"{share.positive:.3g}", best]


def _total_cells(total: dict[str, Any]) -> list[str]:
    counts = [str(total[key]) for key in ("targets", "without_positive", "pairs")]
    means = [f"{total[key]:.1f}" for key in ("pairs_per_target", "effective_per_target")]
    return counts + means + [f"{total[key]:.3g}" for key in ("sum_positive", "sum_negative", "sum_box")]


def _as_json(scene: Scene, inspections: Sequence[Inspection], split: str, origin: str) -> dict[str, Any]:
    from dataclasses import asdict

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
                "assigners": {inspection.name: asdict(inspection.targets[index]) for inspection in inspections},
            }
            for index, (box, label) in enumerate(zip(boxes, labels, strict=True))
        ],
        "assigners": {inspection.name: inspection.totals() for inspection in inspections},
    }

"""`detassign convert`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..data.files import json_text
from . import completion
from .common import (
    assigner_option,
    data_option,
    data_root_option,
    denoising_option,
    detector_option,
    extra_option,
    import_option,
    schedule_option,
    scheme_option,
    set_option,
)
from .tables import table

if TYPE_CHECKING:
    from ..data import DataSource
    from ..engine.conversion.fit import Report

SHOWN = 8  # tensors of a kind that are named one by one


@click.command("convert")
@click.argument("checkpoint", type=click.Path(path_type=Path))
@detector_option
@click.option(
    "--recipe",
    metavar="NAME",
    shell_complete=completion.recipes,
    help="A recipe in place of a detector: DW's checkpoints need DW's.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="File to write; its config.json goes beside."
)
@click.option(
    "--classes", type=click.Choice(["80", "91"]), help="COCO's classes as the target numbers them; 80 if left out."
)
@data_option
@data_root_option
@click.option(
    "--finetune-classes", type=click.IntRange(min=1), metavar="N",
    help="N classes, those that the checkpoint does not know by name beginning anew. Without --data none is known, "
    "and training on the result takes --data.",
)  # fmt: skip
@click.option("--ema", is_flag=True, help="The averaged weights beside the usual ones.")
@assigner_option
@denoising_option
@scheme_option
@extra_option
@schedule_option
@set_option
@import_option
@click.option("--json", "as_json", is_flag=True, help="Print the whole report as JSON.")
def command(
    checkpoint: Path,
    out: Path,
    classes: str | None,
    data: str | None,
    data_root: Path | None,
    finetune_classes: int | None,
    ema: bool,
    as_json: bool,
    **target: Any,
) -> int:
    """Turn a checkpoint of the papers' code, of detrex, mmdet, torchvision, transformers or DW into one that train,
    test and predict load.

    Every tensor is accounted for. Where one of the checkpoint's cannot be used, or one of the model's is not found, nothing
    is written and the exit status is 1. What others compute differently goes into the config beside the new checkpoint.

    \b
    detassign convert checkpoint0011_4scale.pth --detector dino_4scale_r50 --out dino/dino.pth
    detassign predict dino/dino.pth photos/
    detassign convert detr-resnet-50/model.safetensors --detector detr_r50 --out detr/detr.pth
    detassign convert detr.pth --detector detr_r50 --data my/folder --finetune-classes 3 --out mine/start.pth
    detassign train mine/config.json --init mine/start.pth
    """
    from ..engine.conversion.convert import check_folder, convert, write

    check_folder(out)
    source = _source(data, data_root, classes, finetune_classes)
    config = _config(source, **target)
    config, state, report = convert(
        config, checkpoint, ema, new_classes=finetune_classes is not None, by_index=classes == "91"
    )
    if report.complete:
        write(config, state, out)
    if as_json:
        click.echo(json_text({"checkpoint": str(checkpoint), "out": str(out), **report.plain()}, indent=2))
    else:
        show(report, checkpoint)
    if not report.complete:
        raise ValueError(
            f"{checkpoint}: not a checkpoint of {config['name']}; {len(report.unexplained)} of its tensors are unexplained and "
            f"{len(report.missing)} of the model's missing, so nothing was written"
        )
    if not as_json:
        click.echo(f"written: {out}")
    return 0


def _source(data: str | None, root: Path | None, classes: str | None, count: int | None) -> DataSource:
    """The data set, or COCO's classes, or so many without a name; files that are not named are not looked for."""
    from ..data import DataSource
    from ..engine.conversion.classes import COCO_CLASSES, COCO_IDS, COCO_ROWS, unnamed
    from ..engine.finding import find_data
    from ..evidence.words import many

    clash = [name for name, value in {"--classes": classes, "--data": data}.items() if value is not None]
    if len(clash) == 2 or (classes and count):
        raise ValueError(
            f"--classes: numbers COCO's own; leave it out with {'--data' if data else '--finetune-classes'}"
        )
    if data is not None:
        source = find_data(data, root)
        if count not in (None, len(source.classes)):
            raise ValueError(f"--finetune-classes: the data has {many(len(source.classes), 'class')}, got {count}")
        return source
    if count is not None:
        names, ids = unnamed(count), range(1, count + 1)
    elif classes == "91":
        names, ids = [name or f"unused {row}" for row, name in enumerate(COCO_ROWS)], range(91)
    else:
        names, ids = COCO_CLASSES, COCO_IDS
    folder = root or Path("coco")
    annotations = [folder / "annotations" / f"instances_{split}2017.json" for split in ("train", "val")]
    return DataSource("coco", *annotations, folder / "train2017", folder / "val2017", tuple(names), tuple(ids))


def _config(
    source: DataSource,
    detector: str | None,
    recipe: str | None,
    assigner: str | None,
    denoising: str | None,
    scheme: str | None,
    extra: tuple[str, ...],
    schedule: str | None,
    settings: tuple[str, ...],
    imports: tuple[str, ...],
) -> dict[str, Any]:
    """The target's config; the recipe's data set is not looked for."""
    from ..engine import config as configs
    from ..engine.resolving import load_code

    parts = configs.read_recipe(recipe) if recipe else {}
    if detector and "detector" in parts:
        raise ValueError(f"--recipe: {recipe} names a detector already; leave out --detector {detector}")
    detector = detector or parts.get("detector")
    if not detector:
        none = f"; {recipe} names none" if recipe else ""
        raise ValueError(f"--detector: name the checkpoint's architecture with it, or a recipe with --recipe{none}")
    assigner, changes = (
        assigner or parts.get("assigner"),
        {**parts.get("changes", {}), **configs.parse_changes(settings)},
    )
    return configs.compose(
        detector,
        assigner,
        source,
        schedule or parts.get("schedule"),
        changes,
        denoising or parts.get("denoising"),
        load_code(imports, assigner, changes),
        scheme or parts.get("scheme"),
        extra or parts.get("extra", ()),
    )


def show(report: Report, checkpoint: Path) -> None:
    """The report as a table: numbers, reasons, and names where something is wrong or begins anew."""
    rows = [("mapped", len(report.mapped), f"{report.source} names")]
    rows += [("dropped", count, reason) for reason, count in Counter(report.dropped.values()).items()]
    rows += [("setting", "", f"{key} = {value}") for key, value in report.settings.items()]
    rows += _named("anew", {name: f"{name}: {part}" for name, part in report.fresh.items()})
    rows += _named("cut", {name: f"{name}: {part}" for name, part in report.cut.items()})
    rows += _named("given", {name: f"{name}: {part}" for name, part in report.given.items()})
    rows += _named("missing", {name: name for name in report.missing})
    rows += _named("unexplained", {name: f"{name}: {why}" for name, why in report.unexplained.items()})
    table(["", "tensors", ""], rows, title=str(checkpoint))
    if report.fresh and report.classes:
        table(["class", "from"], [(ours, theirs or "new") for ours, theirs in report.classes.items()])


def _named(kind: str, lines: dict[str, str]) -> list[tuple[str, Any, str]]:
    shown = [(kind, 1, line) for line in list(lines.values())[:SHOWN]]
    rest = len(lines) - len(shown)
    return [*shown, (kind, rest, "more")] if rest else shown

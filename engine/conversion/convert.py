"""From another project's checkpoint to one that `train`, `test` and `predict` load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from inspect import signature
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import torch
from torch import Tensor, nn

from .. import imports
from ..build import build_model, find_class
from ..config import change, plain, read, up_to_date
from ..files import write_json, write_whole
from .classes import choose_rows, has_background, names_of_rows
from .families import Recognised, is_plain_detr, recognise
from .fit import CLASS_LAYER, LABELS, ClassRows, Report, class_rows, columns_of, fit, names_fit, shared_out
from .reading import check_finite, read_checkpoint

CONFIG = "config.json"


def convert(
    config: Mapping[str, Any], checkpoint: Path, ema: bool = False, new_classes: bool = False, by_index: bool = False
) -> tuple[dict[str, Any], dict[str, Tensor], Report]:
    """The config with the checkpoint's settings, the weights in this project's names, and the report.

    Args:
        config: resolved; describes the target.
        checkpoint: of one of the papers' repositories, mmdet 3, DW, or this project.
        ema: take the averaged weights.
        new_classes: classes that the checkpoint does not know start anew.
        by_index: take the checkpoint's rows as they are, 91 of the papers' say, whatever their names.

    Raises:
        FileNotFoundError, ValueError: for a checkpoint that is missing, unsafe, not finite, or of another architecture, and for
            classes that it does not know.
    """
    recognised = recognise(read_checkpoint(checkpoint, ema))
    config, settings = adapted(config, recognised.settings)
    check_finite(recognised.translation.state, checkpoint)
    model = build_model(config, initialise=False)
    report = Report(recognised.source, settings=settings)
    classes, translation = config["data"]["classes"], shared_out(recognised.translation, model, report)
    if names_fit(translation, model):
        named = class_rows(translation.state) - _objectness(recognised, model)
        background = _background(recognised, named, model, new_classes)
        total = named - background
        names = None if by_index else names_of_rows(total, recognised.classes, classes, new_classes)
        rows = ClassRows(choose_rows(total, names, classes, new_classes), total, background)
        report.classes = class_map(classes, rows, names)
    else:  # whatever the classes are, it is another model
        rows = ClassRows((None,) * len(classes), 0)
    return config, fit(translation, model, rows, report), report


def _objectness(found: Recognised, model: nn.Module) -> bool:
    """Whether the last row of the checkpoint's class layers is a query's objectness, which only this project's can have."""
    name = next(filter(CLASS_LAYER.fullmatch, found.translation.state))
    own = columns_of(name, model)
    if found.source != "detassign" or not own.objectness:
        return False
    return found.classes is None or class_rows(found.translation.state) > len(found.classes) + own.background


def _background(found: Recognised, rows: int, model: nn.Module, may_differ: bool) -> bool:
    """Whether the checkpoint's class layers have a row for no object; as the target's where nothing tells.

    Raises:
        ValueError: when the target's do not agree, and may not differ.
    """
    state, ours = found.translation.state, bool(model.bbox_head.assigner.score.background_column)
    labels = len(state[LABELS]) if LABELS in state else None
    if labels == rows and found.source != "detassign":
        labels += 1  # mmdet, detrex and Relation-DETR have no unknown label
    theirs = has_background(rows, found.classes, labels, found.source != "detassign" and is_plain_detr(state))
    if theirs is None:
        return ours
    if theirs != ours and not may_differ:
        kinds = {True: "a softmax with a row for no object", False: "a sigmoid for each class"}
        raise ValueError(
            f"the checkpoint has {kinds[theirs]}, the target's assigner {kinds[ours]}; choose another with --assigner, or "
            "begin anew with --finetune-classes"
        )
    return theirs


def class_map(classes: Sequence[str], rows: ClassRows, names: Sequence[str | None] | None) -> dict[str, str | None]:
    """Our class -> theirs, by name or else by number; None for a new one.

    >>> class_map(("dog", "newt"), ClassRows((2, None), 3), ("cat", None, "dog"))
    {'dog': 'dog', 'newt': None}
    """
    theirs = [str(row) for row in range(rows.total)] if names is None else names
    return {ours: None if row is None else theirs[row] for ours, row in zip(classes, rows.chosen, strict=True)}


def adapted(config: Mapping[str, Any], settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The config with the settings that differ from its own, and those; what a part does not take is left out."""
    config, changed = deepcopy(dict(config)), {}
    for key, value in settings.items():
        _, part, name = key.split(".")
        value, description = plain(value), config["model"].get(part)
        if description is None or not _may_be(description, name, value):
            continue
        if value == description.get(name, _default(description, name, value)):
            continue
        change(config, key, value)
        changed[key] = value
    return config, changed


def _default(description: Mapping[str, Any], name: str, otherwise: Any) -> Any:
    """The default of a part's argument; where it takes no such argument, `otherwise`."""
    parameters = signature(find_class(description["type"], name)).parameters
    return plain(parameters[name].default) if name in parameters else otherwise


def _may_be(description: Mapping[str, Any], name: str, value: Any) -> bool:
    """Whether a part's argument may have this value, as far as its annotation lists any."""
    hint = get_type_hints(find_class(description["type"], name).__init__).get(name)
    return get_origin(hint) is not Literal or value in get_args(hint)


def write(config: Mapping[str, Any], state: Mapping[str, Tensor], out: Path) -> None:
    """The checkpoint, and the config beside it that makes `predict` and `train` understand it.

    Raises:
        ValueError, OSError: when the folder belongs to another config or cannot be made, or the file is there already.
    """
    beside = check_place(config, out)
    out.parent.mkdir(parents=True, exist_ok=True)
    meta = {"name": config["name"], "dataset_meta": {"classes": tuple(config["data"]["classes"])}}
    write_whole(lambda file: torch.save({"state_dict": dict(state), "meta": meta}, file), out)
    imports.save(config, out.parent)
    write_json(config, beside)


def check_folder(out: Path) -> None:
    """Raise ValueError where no file can be written, or one is there already."""
    in_the_way = next((folder for folder in out.parents if folder.exists()), out.parent)
    if not in_the_way.is_dir():
        raise ValueError(f"--out: {in_the_way} is a file; expected a folder")
    if out.is_dir():
        raise ValueError(f"--out: {out} is a folder; expected a file to write, such as {out / 'converted.pth'}")
    if out.name == CONFIG:
        raise ValueError(f"--out: {CONFIG} is the name of the config beside the weights; give the weights another one")
    if out.exists():
        raise ValueError(f"--out: {out} is there already; remove it first or give another name")


def check_place(config: Mapping[str, Any], out: Path) -> Path:
    """Where the config goes.

    Raises:
        ValueError: when the folder belongs to another config, or the file is there already.
    """
    check_folder(out)
    beside = out.parent / CONFIG
    if beside.exists() and read(beside) != up_to_date(config):
        raise ValueError(f"--out: {beside} belongs to something else; give a folder of its own")
    return beside

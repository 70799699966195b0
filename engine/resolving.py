"""From options, of the command line or of a call, to a resolved config."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

from ..assigners import spec
from ..data import DataSource, Report
from ..evidence.words import many
from ..heads import PostProcess
from . import config as configs
from .finding import checked, find_data
from .imports import load_named, restore

DETECTIONS = 100  # COCO's limit per image
DEFAULT_DETECTOR = "fcos_tiny"


def resolve_config(
    config: str | None = None,
    detector: str | None = None,
    assigner: str | None = None,
    data: str | None = None,
    data_root: Path | None = None,
    images: int | None = None,
    schedule: str | None = None,
    settings: Mapping[str, Any] | Iterable[str] = (),
    denoising: str | None = None,
    imports: Iterable[str] = (),
    trust: bool = False,
    scheme: str | None = None,
    extra: Sequence[str] = (),
    augment: Sequence[str] | None = None,
    **run: Any,
) -> dict[str, Any]:
    """The config of a run: a recipe or a run's config.json if named, with what the options say on top.

    Code that the options name is loaded; code that a run brings is, too, if it has run here before or `trust` is given.
    `settings` are dotted keys with their values, or texts of the form key=value.
    """
    changes = dict(settings) if isinstance(settings, Mapping) else configs.parse_changes([*settings])
    if config and config.endswith(".json"):
        chosen = {"--detector": detector, "--assigner": assigner, "--denoising": denoising}
        chosen |= {"--schedule": schedule, "--scheme": scheme, "--extra": extra or None}
        clash = [name for name, value in chosen.items() if value is not None]
        if clash:
            raise ValueError(f"{clash[0]}: {config} is resolved already; change single keys with --set")
        code = load_code(imports, assigner, changes)
        changes = {**configs.augmented(augment or ()), **changes}
        return _resolved(Path(config), data, data_root, images, changes, code, trust, **run)
    recipe = configs.read_recipe(config) if config else {}
    source = find_data(data or recipe.get("data", "synthetic"), data_root, images)
    report = checked(source)
    assigner, changes = assigner or recipe.get("assigner"), {**recipe.get("changes", {}), **changes}
    resolved = configs.compose(
        detector or recipe.get("detector", DEFAULT_DETECTOR),
        assigner,
        source,
        schedule or recipe.get("schedule"),
        changes,
        denoising or recipe.get("denoising"),
        load_code(imports, assigner, changes),
        scheme or recipe.get("scheme"),
        extra or recipe.get("extra", ()),
        augment or (),
        **run,
    )
    if source.name != "coco":  # whose AP is of 100 detections, however crowded an image is
        _make_room(resolved, report, changes)
    return resolved


def load_code(imports: Iterable[str], assigner: Any, changes: Mapping[str, Any]) -> dict[str, str | None]:
    """Load what --import names, and the files that an assigner's spec names, here or among the changes."""
    specs = [assigner, *(value for key, value in changes.items() if key.startswith(configs.ASSIGNER))]
    return load_named([*imports, *(file for text in specs if isinstance(text, str) for file in spec.files(text))])


def _resolved(
    path: Path,
    data: str | None,
    root: Path | None,
    images: int | None,
    changes: dict[str, Any],
    given: Mapping[str, str | None],
    trust: bool,
    **run: Any,
) -> dict[str, Any]:
    """What a run wrote, on other data if named, with as many classes, and with the code that is given."""
    config = configs.read(path)
    configs.validate(config, str(path))
    restore(config, path.parent, trust, given)
    if given:
        config["imports"] = {**(config.get("imports") or {}), **given}
    source = _named(config, data, root, images)
    if source:
        classes = len(config["data"]["classes"])
        if len(source.classes) != classes:
            raise ValueError(f"--data {source.name}: has {many(len(source.classes), 'class')}, {path} is for {classes}")
        config["data"] = configs.described(source)
    configs.changed(config, changes, **run)
    configs.validate(config, str(path))
    checked(configs.find_source(config))
    return config


def on_data(config: dict[str, Any], data: str | None, root: Path | None, images: int | None) -> dict[str, Any]:
    """A run's config on the data set that the options name, if they do: the same one elsewhere, or another of the same classes.

    Raises:
        ValueError: when it has other classes.
    """
    source = _named(config, data, root, images)
    if source is None:
        return config
    other = sorted(set(source.classes) ^ set(config["data"]["classes"]))
    if other:
        whose = "the data's" if other[0] in source.classes else "the run's"
        raise ValueError(f"--data {source.name}: other classes than the run's; {other[0]!r} is one of {whose} alone")
    return {**config, "data": configs.described(source)}


def _named(config: Mapping[str, Any], data: str | None, root: Path | None, images: int | None) -> DataSource | None:
    """The data set that options name for a run; a root alone is that of its COCO, or the folder of any other set."""
    if data is None and images is not None:
        raise ValueError("--images: belongs to --data synthetic; name it too")
    if data is None and root is None:
        return None
    if data is None and config["data"]["name"] != "coco":
        return find_data(str(root), None)
    return find_data(data or "coco", root, images)


def _make_room(config: dict[str, Any], report: Report, given: Mapping[str, Any]) -> None:
    """Raise COCO's limit of 100 detections where an image holds more objects than half of that, unless it is given."""
    most = max((split["most_boxes_in_an_image"] for split in report.statistics.values()), default=0)
    limit = -(-2 * most // 100) * 100
    if limit <= DETECTIONS:
        return
    limits = {"evaluation": ("max_detections",), "model.post_process": ("per_level", "max_per_image")}
    for section, names in limits.items():
        settings = reduce(getitem, section.split("."), config)
        for name in names:
            if f"{section}.{name}" not in given:
                settings[name] = max(settings.get(name, getattr(PostProcess, name, limit)), limit)

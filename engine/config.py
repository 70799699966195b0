"""One run's config: put together from fragments by name, changed from outside, written down as plain JSON.

A resolved config is a dict of plain values. Where it describes an object it has "type", the dotted name of the class,
and that class's arguments. Nothing past `engine.build` reads it.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any

from ..assigners import DENOISINGS, spec
from ..assigners.building import assigner_spec
from ..assigners.registry import EXTRAS, describe_argument, unknown_name
from ..data import DataSource
from ..data.files import read_json
from ..data.forms import FORMS
from ..data.sources import NEEDED
from ..evidence.words import many
from . import fragments
from .values import check_values

CONFIG = "config.json"  # in a run's folder
INPUT = {
    "scale": (1333, 800),
    "keep_ratio": True,
    "multi_scale": None,
    "augmentation": None,
    "color": None,  # probabilities: see augmentation.pictures
    "zoom": None,
    "mosaic": None,
    "mixup": None,
    "plain_from": None,  # share of the training without mosaics and mixtures from there on
    "repeat_rare": None,  # share of the images below which a class is rare, and its images come more often
    "flip": ("horizontal",),
    "workers": None,
}
SCHEDULE = {
    "steps": None,  # at most so many; None: as many as the epochs have
    "accumulate": None,  # parts that a batch goes through the model in; None: whole
    "ema": None,  # decay of the weights' average; None: without
}
TELEMETRY = {"on": False, "every": 5, "images": 32, "patience": 3}  # steps between looks, images followed, epochs
EVALUATION = {
    "every": 1,
    "max_detections": 100,
    "batch_size": None,  # as in training
    "patience": None,  # evaluations without a better AP, after which a run ends; None: at its schedule's end
}
RUN_KEYS = {
    "epochs": "schedule.epochs",
    "batch_size": "schedule.batch_size",
    "accumulate": "schedule.accumulate",
    "ema": "schedule.ema",
    "patience": "evaluation.patience",
    "telemetry": "telemetry.on",
}
"""Argument of a run -> its config key, where that is another."""
DEFAULT_ASSIGNER = "fcos"
LARGEST = 2**26  # bytes of a config
REPLACED = {"mmdet.models.backbones.resnet.ResNet": "detassign.detectors.resnet.FoldedResNet"}  # by an equal part
ASSIGNER, EXTRA = "model.head.assigner", "model.extra"  # keys
RECIPE_KEYS = {"detector", "scheme", "assigner", "denoising", "extra", "data", "schedule", "changes"}
RECIPE_KINDS = {
    "changes": (Mapping, "a dict of keys and values"),
    "assigner": ((str, Mapping), "a name"),
    "extra": ((list, tuple), "a list of specs"),
}


def compose(
    detector: str,
    assigner: str | Mapping[str, Any] | None,
    source: DataSource,
    schedule: str | None = None,
    changes: Mapping[str, Any] | None = None,
    denoising: str | None = None,
    imports: Mapping[str, str | None] | None = None,
    scheme: str | None = None,
    extra: Sequence[str] = (),
    augment: Sequence[str] = (),
    **run: Any,
) -> dict[str, Any]:
    """A resolved config.

    Args:
        detector: name of a detector fragment.
        assigner: a spec, or a dict as `assigners.build` takes it; None takes the detector's own, or DEFAULT_ASSIGNER.
        source: the data set, found.
        schedule: name of a schedule fragment; None takes the detector's usual one.
        changes: dotted key -> value, applied last: {"model.head.stacked_convs": 1}.
        denoising: how the targets of a query detector are noised into queries, or "none"; None takes its usual way.
        imports: the loaded code that brings parts of its own, as `imports.load_named` gives it.
        scheme: name of a scheme fragment: what a paper changed in a detector; all else that is given comes on top of it.
        augment: names of augmentation fragments.
        extra: specs of what training adds to the queries, to a scheme's own or in the place of that of the same name.
        run: seed, device, precision, pretrained, init, epochs, batch_size, accumulate, ema, patience, log, telemetry; None
            leaves the default.

    Raises:
        ValueError: for unknown names and keys, with the nearest known ones.
    """
    detector_parts = fragments.load("detectors", detector)
    dataset_parts = fragments.load("datasets", source.name) if source.name in fragments.names("datasets") else {}
    schedule_parts = fragments.load("schedules", schedule or detector_parts["schedule"])
    model = dict(detector_parts["model"])
    usual = model["head"].get("assigner", DEFAULT_ASSIGNER)
    parts = _scheme(scheme, detector, model) if scheme else {}
    changes = {**parts.get("changes", {}), **augmented(augment), **(changes or {})}
    assigner = changes.get(ASSIGNER) or assigner or parts.get("assigner") or usual
    denoising = denoising or parts.get("denoising")
    assigners = {"assigner": assigner_spec(assigner), "home": assigner_spec(usual)}
    model["head"] = {**model["head"], "num_classes": len(source.classes), **assigners}
    if denoising is not None:
        model["denoising"] = _denoising(detector, model, denoising)
    if extra or "extra" in parts:
        model["extra"] = {**parts.get("extra", {}), **_extra(detector, model, extra)}
    config = {
        "name": "-".join([detector, *_named(scheme, denoising, extra, spec.name_of(assigner)), source.name]),
        "model": model,
        "data": described(source),
        "input": {**INPUT, **detector_parts.get("input", {}), **dataset_parts.get("input", {})},
        "schedule": {**SCHEDULE, **schedule_parts["schedule"]},
        "evaluation": {**EVALUATION, **detector_parts.get("evaluation", {}), **dataset_parts.get("evaluation", {})},
        "telemetry": dict(TELEMETRY),
        "log": None,
        "seed": 0,
        "device": "auto",
        "precision": "float32",
        "pretrained": None,
        "init": None,
        "imports": dict(imports or {}),
    }
    composed = changed(plain(config), changes, **run)
    validate(composed, composed["name"])
    return composed


def augmented(names: Sequence[str]) -> dict[str, Any]:
    """The changes that augmentations make, by their names."""
    return {key: value for name in names for key, value in fragments.load("augmentations", name)["changes"].items()}


def _denoising(detector: str, model: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """The model's arguments of denoising with the named noise, or without any."""
    if "queries" not in model:
        raise ValueError(f"denoising: {detector} is a dense detector and has no queries; leave it out")
    if name == "none":
        return None
    if name not in DENOISINGS:
        raise ValueError(unknown_name("denoising", name, [*DENOISINGS, "none"]))
    own = model.get("denoising") or {}
    noise = own.get("denoising")
    usual = noise["type"] if isinstance(noise, Mapping) else noise
    return own if usual == name else {**own, "denoising": {"type": name}}


def _scheme(name: str, detector: str, model: Mapping[str, Any]) -> dict[str, Any]:
    """What a scheme makes of a query detector."""
    parts = fragments.load("schemes", name)["scheme"]
    if "queries" not in model:
        raise ValueError(
            f"scheme: {name} is for query detectors, and {detector} is a dense one; name its assigner instead"
        )
    return parts(model)


def _extra(detector: str, model: Mapping[str, Any], specs: Sequence[str]) -> dict[str, Any]:
    """What training adds, by its names, as the specs say."""
    if specs and "queries" not in model:
        raise ValueError(f"extra: {detector} is a dense detector and has no queries; leave it out")
    described = [EXTRAS.describe(each) for each in specs]
    names = [each["type"] for each in described]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(
            f"extra: {twice[0]} is there twice; give one another name, as in --set model.extra.mine.type={twice[0]}"
        )
    return dict(zip(names, described, strict=True))


def _named(scheme: str | None, denoising: str | None, extra: Sequence[str], assigner: str) -> list[str]:
    """What a run's name says of how its detector learns."""
    return [*([scheme] if scheme else []), *([denoising] if denoising else []), *extra, assigner]


def changed(config: dict[str, Any], changes: Mapping[str, Any], **run: Any) -> dict[str, Any]:
    """The config with dotted keys set in place, the run's own (seed, epochs, batch_size, …) first; None changes nothing."""
    for key, value in {**_run_changes(run), **changes}.items():
        change(config, key, plain(_described(key, value)))
    return config


def _described(key: str, value: Any) -> Any:
    """The value of a dotted key; an assigner's spec, or that of one of its arguments, as a dict."""
    if key == ASSIGNER:
        return assigner_spec(value)
    return describe_argument(value) if key.startswith(f"{ASSIGNER}.") else value


def change(config: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key in place. Keys of a class's arguments may be new; all others must exist.

    >>> config = {"schedule": {"epochs": 12}}
    >>> change(config, "schedule.epochs", 3)
    >>> config
    {'schedule': {'epochs': 3}}
    """
    *parents, last = key.split(".")
    place: Any = config
    for depth, name in enumerate(parents):
        place = _step(place, name, ".".join(parents[: depth + 1]))
    if isinstance(place, list):
        place[_index(place, last, key)] = value
        return
    if not isinstance(place, dict):
        raise ValueError(f"{key}: {'.'.join(parents)} is {place!r}, which has no parts to set")
    if last not in place and not _open(place, parents):
        raise ValueError(unknown_name("config key", key, [".".join([*parents, name]) for name in place]))
    place[last] = value


def parse_changes(
    settings: Sequence[str], option: str = "--set", example: str = "model.head.stacked_convs=1"
) -> dict[str, Any]:
    """`key=value` texts of an option as a dict; values are Python literals, and text where they are not.

    >>> parse_changes(["model.head.stacked_convs=1", "schedule.decay.type=step"])
    {'model.head.stacked_convs': 1, 'schedule.decay.type': 'step'}
    """
    result = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key:
            raise ValueError(f"{option} {setting!r}: expected key=value, as in {option} {example}")
        result[key] = _literal(text)
        if not _is_plain(result[key]):
            raise ValueError(f"{option} {setting}: expected finite numbers, text, lists or dicts of those, or None")
    return result


def read(path: Path) -> dict[str, Any]:
    """A resolved config from JSON, as a run wrote it; an older one in today's form.

    Raises:
        FileNotFoundError, ValueError: with the file's name.
    """
    if not path.is_file():
        raise FileNotFoundError(f"config {path} does not exist")
    config = read_json(path, LARGEST)
    missing = sorted({"model", "data", "input", "schedule"} - set(config if isinstance(config, dict) else ()))
    if missing:
        raise ValueError(f"config {path}: lacks {', '.join(missing)}; expected a config.json that a run wrote")
    return up_to_date(config)


def up_to_date(config: Mapping[str, Any]) -> dict[str, Any]:
    """A resolved config in today's form: what has been added since is as it was without."""
    config = dict(config)
    if "amp" in config:  # the switch that `precision` replaced
        config["precision"] = "float16" if config.pop("amp") else "float32"
    return with_todays_parts({"telemetry": dict(TELEMETRY), "log": None, **config, **_with_all_settings(config)})


def with_todays_parts(config: Mapping[str, Any]) -> dict[str, Any]:
    """A resolved config whose backbone has the type that computes the same today.

    >>> old = {"model": {"backbone": {"type": "mmdet.models.backbones.resnet.ResNet", "depth": 18}}}
    >>> with_todays_parts(old)["model"]["backbone"]["type"]
    'detassign.detectors.resnet.FoldedResNet'
    """
    model = config.get("model")
    backbone = model.get("backbone") if isinstance(model, Mapping) else None
    if not isinstance(backbone, Mapping) or backbone.get("type") not in REPLACED:
        return dict(config)
    return {**config, "model": {**model, "backbone": {**backbone, "type": REPLACED[backbone["type"]]}}}


def _with_all_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Sections with what they may leave out as None."""
    usual = {"input": INPUT, "schedule": SCHEDULE, "evaluation": EVALUATION}
    optional = {section: {key: None for key in usual[section] if usual[section][key] is None} for section in usual}
    sections = {section: config.get(section) for section in usual}
    return {name: {**optional[name], **section} for name, section in sections.items() if isinstance(section, Mapping)}


def validate(config: Mapping[str, Any], name: str) -> None:
    """Raise ValueError when the sections of a config that came from outside are not what a run writes.

    >>> validate({"model": 3}, "mine.json")
    Traceback (most recent call last):
    ValueError: config mine.json: model is 3; expected a dict with its settings
    """
    for section in ("model", "data", "input", "schedule"):
        if not isinstance(config.get(section), Mapping):
            raise ValueError(f"config {name}: {section} is {config.get(section)!r}; expected a dict with its settings")
    data, known = config["data"], {field.name: field.default is MISSING for field in fields(DataSource)}
    needed = {name for name, is_needed in known.items() if is_needed}
    if not needed <= set(data) <= set(known):
        wrong = sorted((set(data) - set(known)) | (needed - set(data)))[0]
        raise ValueError(f"config {name}: data.{wrong} is {'unknown' if wrong in data else 'missing'}")
    if data.get("form", "coco") not in FORMS:
        raise ValueError(f"config {name}: " + unknown_name("data.form", data["form"], FORMS))
    classes, ids = data["classes"], data["category_ids"]
    if not isinstance(classes, list) or not isinstance(ids, list) or len(classes) != len(ids):
        raise ValueError(f"config {name}: data.classes and data.category_ids must be lists of the same length")
    head = config["model"].get("head")
    if isinstance(head, Mapping) and head.get("num_classes", len(classes)) != len(classes):
        raise ValueError(
            f"config {name}: model.head.num_classes is {head['num_classes']!r}, and the data has {many(len(classes), 'class')}"
        )
    check_values(config, name)


def read_recipe(name_or_path: str) -> dict[str, Any]:
    """Fragment names and changes from a recipe's name or a Python file of the same form.

    Raises:
        ValueError: when it is neither, or names something else.
    """
    path = Path(name_or_path)
    recipe = (
        fragments.load_file(path)
        if path.suffix == ".py" and path.is_file()
        else fragments.load("recipes", name_or_path)
    )
    for key in RECIPE_KEYS & recipe.keys():
        kinds, words = RECIPE_KINDS.get(key, (str, "a name"))
        if not isinstance(recipe[key], kinds):
            raise ValueError(f"config {name_or_path}: {key} is {recipe[key]!r}; expected {words}")
    unknown = [key for key, value in recipe.items() if key not in RECIPE_KEYS and _is_setting(key, value)]
    if unknown:
        raise ValueError(unknown_name(f"setting of the config {name_or_path}", unknown[0], list(RECIPE_KEYS)))
    return {key: recipe[key] for key in RECIPE_KEYS if key in recipe}


def _is_setting(name: str, value: Any) -> bool:
    """Whether a variable of a recipe looks like a setting: constants in capitals, functions and modules do not."""
    return not name.isupper() and isinstance(value, str | int | float | Mapping | list | tuple)


def described(source: DataSource) -> dict[str, Any]:
    """A data set as a config names it, with whole paths, so that they hold wherever a command is run."""
    usual = {field.name: field.default for field in fields(source)}
    entries = {key: value for key, value in asdict(source).items() if value != usual[key]}
    paths = {key: value.absolute() for key, value in entries.items() if isinstance(value, Path)}
    return plain({**entries, **paths})


def source_of(config: Mapping[str, Any]) -> DataSource:
    """The data set that a resolved config names."""
    data = dict(config["data"])
    paths = {
        key: Path(value)
        for key, value in data.items()
        if key.endswith(("_annotations", "_images")) and value is not None
    }
    classes, ids = tuple(data["classes"]), tuple(data["category_ids"])
    return DataSource(**{**data, **paths, "classes": classes, "category_ids": ids})


def find_source(config: Mapping[str, Any], splits: Sequence[str] = NEEDED) -> DataSource:
    """The same, where it lies there.

    Raises:
        FileNotFoundError: when it does not.
        ValueError: when it has no such split.
    """
    source = source_of(config)
    for path in (path for split in splits for path in source.place(split)[2:]):
        if not path.exists():
            raise FileNotFoundError(
                f"data: {path} does not exist; say where the data set is now with --data or --data-root"
            )
    return source


def plain(value: Any) -> Any:
    """Classes as dotted names, paths as text, tuples as lists: what JSON can hold."""
    if isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return str(value) if isinstance(value, Path) else value


def _run_changes(run: Mapping[str, Any]) -> dict[str, Any]:
    return {RUN_KEYS.get(key, key): value for key, value in run.items() if value is not None}


def _step(place: Any, name: str, key: str) -> Any:
    if isinstance(place, list):
        return place[_index(place, name, key)]
    if isinstance(place, dict) and key.rpartition(".")[0] == EXTRA:
        place.setdefault(name, {})
    if not isinstance(place, dict) or name not in place:
        known = list(place) if isinstance(place, dict) else []
        raise ValueError(unknown_name("config key", key, [".".join([*key.split(".")[:-1], k]) for k in known]))
    if place[name] is None:
        place[name] = {}
    return place[name]


def _index(place: list[Any], name: str, key: str) -> int:
    if not name.isdigit() or int(name) >= len(place):
        raise ValueError(f"{key}: expected an index below {len(place)}, got {name!r}")
    return int(name)


def _open(place: Mapping[str, Any], parents: Sequence[str]) -> bool:
    """Arguments of a class, of denoising, extras, and everything below an assigner or a free-form argument, may be new."""
    return (
        "type" in place
        or "matching" in place
        or len(parents) > 2
        or parents in (["model", "denoising"], ["model", "extra"])
    )


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return {"true": True, "false": False, "none": None, "null": None}.get(text.lower(), text)


def _is_plain(value: Any) -> bool:
    """Whether a config's file can hold a value."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(inner) for key, inner in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))

"""From command-line options to a resolved config."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..data import DataSource, Report, check
from ..engine import config as configs
from .common import find_data

DETECTIONS = 100  # COCO's limit per image
DEFAULT_DETECTOR = "fcos_tiny"


def resolve_config(
    config: str | None,
    detector: str | None,
    assigner: str | None,
    data: str | None,
    data_root: Path | None,
    images: int | None,
    schedule: str | None,
    settings: tuple[str, ...],
    denoising: str | None = None,
    **run: Any,
) -> dict[str, Any]:
    """The config of a run: a recipe or a run's config.json if named, with what the options say on top."""
    changes = configs.parse_changes(settings)
    if config and config.endswith(".json"):
        chosen = {"--detector": detector, "--assigner": assigner, "--denoising": denoising}
        chosen |= {"--schedule": schedule, "--data-root": data_root}
        clash = [name for name, value in chosen.items() if value is not None]
        if clash:
            raise ValueError(f"{clash[0]}: {config} is resolved already; change single keys with --set")
        return _resolved(Path(config), data, images, changes, **run)
    recipe = configs.read_recipe(config) if config else {}
    source = find_data(data or recipe.get("data", "synthetic"), data_root, images)
    report = _checked(source)
    return configs.compose(
        detector or recipe.get("detector", DEFAULT_DETECTOR),
        assigner or recipe.get("assigner"),
        source,
        schedule or recipe.get("schedule"),
        {**_limits(report), **recipe.get("changes", {}), **changes},
        denoising or recipe.get("denoising"),
        **run,
    )


def _resolved(path: Path, data: str | None, images: int | None, changes: dict[str, Any], **run: Any) -> dict[str, Any]:
    """What a run wrote, on other data if named, with as many classes."""
    config = configs.read(path)
    configs.validate(config, str(path))
    if data is None and images is not None:
        raise ValueError("--images: belongs to --data synthetic; name it too")
    if data is not None:
        source = find_data(data, None, images)
        classes = len(config["data"]["classes"])
        if len(source.classes) != classes:
            raise ValueError(f"--data {data}: has {len(source.classes)} classes, {path} is for {classes}")
        config["data"] = configs.plain(asdict(source))
    configs.changed(config, changes, **run)
    configs.validate(config, str(path))
    _checked(configs.source_of(config))
    return config


def _checked(source: DataSource) -> Report:
    """What `data check` says of a set that has no errors."""
    report = check(source, headers=0)
    if report.errors:
        raise ValueError(f"data: {report.errors[0]}; see 'detassign data check'")
    return report


def _limits(report: Report) -> dict[str, int]:
    """Room for crowded images: COCO's 100 detections, or more where an image holds more objects than half of that."""
    most = max((split["most_boxes_in_an_image"] for split in report.statistics.values()), default=0)
    if most <= DETECTIONS // 2:
        return {}
    limit = -(-2 * most // 100) * 100
    return {"evaluation.max_detections": limit, "model.post_process.max_per_image": limit}

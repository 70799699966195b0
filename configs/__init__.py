"""Config fragments: detectors, assigners, datasets, schedules; and recipes, the papers' exact settings."""

__all__: list[str] = []

"""Detectors by name; each file defines `model`, `input` and the name of its usual `schedule`."""

__all__: list[str] = []

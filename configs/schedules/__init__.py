"""Training schedules by name; each file defines `schedule`."""

__all__: list[str] = []

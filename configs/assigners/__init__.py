"""Assigners that are more than a preset or matching+weighting; each file defines `assigner`."""

__all__: list[str] = []

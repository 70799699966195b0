"""Augmentations by name, of which several may be taken together; each file defines `changes`, config keys and values."""

__all__: list[str] = []

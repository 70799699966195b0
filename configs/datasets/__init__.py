"""What a data set changes; each file may define `input`, `options` for making it, and `evaluation`."""

__all__: list[str] = []

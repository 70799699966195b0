"""What a data set changes; each file may define `input` and `evaluation`."""

__all__: list[str] = []

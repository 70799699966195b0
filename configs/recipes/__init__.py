"""Published settings: each file names its fragments and what differs from them."""

__all__: list[str] = []

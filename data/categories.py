"""The classes of an annotation file."""

from __future__ import annotations

from collections import Counter
from typing import Any

__all__ = ["is_whole", "parse_categories"]


def is_whole(value: Any) -> bool:
    """Whether a value of a JSON file can be an id or a count of pixels; table programs write 1 as 1.0.

    >>> is_whole(1), is_whole(1.0), is_whole(1.5), is_whole("1"), is_whole(True)
    (True, True, False, False, False)
    """
    whole = type(value) is int or (type(value) is float and value.is_integer())
    return whole and abs(value) < 2**53  # beyond that, JSON readers disagree


def parse_categories(document: Any) -> dict[int, str]:
    """Category names by id, ids ascending, of a parsed annotation file; gaps between ids are allowed.

    Raises ValueError when categories are missing, malformed, or share an id or a name.

    >>> parse_categories({"categories": [{"id": 7, "name": "cat"}, {"id": 2, "name": "dog"}]})
    {2: 'dog', 7: 'cat'}
    """
    entries = document.get("categories") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not entries:
        raise ValueError("an annotation file must be an object with a non-empty list 'categories'")
    pairs = [(e.get("id"), e.get("name")) if isinstance(e, dict) else (None, None) for e in entries]
    for category, name in pairs:
        if not is_whole(category) or not isinstance(name, str) or not name:
            raise ValueError(f"a category needs a whole number 'id' and a text 'name', got {category!r} and {name!r}")
    for what, values in zip(("id", "name"), zip(*pairs, strict=True), strict=True):
        repeated = [value for value, count in Counter(values).items() if count > 1]
        if repeated:
            raise ValueError(f"two categories share the {what} {repeated[0]!r}")
    return {int(category): name for category, name in sorted(pairs)}

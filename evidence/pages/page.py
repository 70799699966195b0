"""One self-contained HTML file of a picture's data: styles, script and image inside it, nothing fetched."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from ...data.files import json_text
from ..palette import as_css
from ..words import printable

QUALITY = 90  # of the embedded JPEG


def page(content: Mapping[str, Any], theme: str | None = None) -> str:
    """The page of content as `content.content_of` makes it.

    Args:
        content: with a "title", and whatever the script reads.
        theme: "light" or "dark"; None is the reader's own.
    """
    parts = {
        "title": escape(printable(str(content["title"]))),
        "theme": f' data-theme="{escape(theme)}"' if theme else "",
        "style": as_css() + _file("page.css"),
        "data": embedded(content),
        "script": _file("page.js"),
    }
    html = _file("page.html")
    pieces = html.split("@@")  # names at odd places; what is filled in is never searched again
    return "".join(parts[piece] if place % 2 else piece for place, piece in enumerate(pieces))


def embedded(value: Any) -> str:
    """A value as JSON that may stand in a script element: no letter of it can end the element or open a comment.

    >>> embedded({"name": "</script><!--"})
    '{"name": "\\\\u003c/script\\\\u003e\\\\u003c!--"}'
    """
    return json_text(value).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def image_uri(image: np.ndarray) -> str:
    """An image (H, W, 3) uint8 RGB as a data URI."""
    buffer = BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(buffer, "JPEG", quality=QUALITY)
    return "data:image/jpeg;base64," + b64encode(buffer.getvalue()).decode("ascii")


def _file(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")

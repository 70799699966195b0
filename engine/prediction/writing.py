"""What is found in images, written down."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from ...data.files import json_text
from ...heads import Detections
from ..files import write_whole
from .reading import Picture


def drawing_names(images: Sequence[Path]) -> list[str]:
    """A file name for each image's drawing; no two are the same, on file systems without upper case either.

    >>> drawing_names([Path("a/cat.jpg"), Path("b/cat.png"), Path("dog.jpg")])
    ['cat.png', 'cat-2.png', 'dog.png']
    """
    taken: set[str] = set()
    names = []
    for image in images:
        name, number = image.stem, 1
        while name.casefold() in taken:
            number += 1
            name = f"{image.stem}-{number}"
        taken.add(name.casefold())
        names.append(f"{name}.png")
    return names


def entry_of(
    path: Path, picture: Picture, found: Detections, classes: Sequence[str], drawing: str | None
) -> dict[str, Any]:
    """What PREDICTIONS says of an image."""
    rows = zip(found.boxes.tolist(), found.scores.tolist(), found.labels.tolist(), strict=True)
    return {
        "file": str(path),
        "width": picture.width,
        "height": picture.height,
        "drawing": drawing,
        "detections": [
            {"label": classes[label], "score": round(score, 4), "box": [round(side, 2) for side in box]}
            for box, score, label in rows
        ],
    }


@contextmanager
def json_list(path: Path) -> Iterator[Callable[[Any], None]]:
    """Writes a JSON list entry by entry, aside; renamed at the end, whatever ended it."""
    aside, before = path.with_name(path.name + ".part"), "["

    def write(entry: Any) -> None:
        nonlocal before
        file.write(f"{before}\n{json_text(entry)}")
        before = ","

    with aside.open("w", encoding="utf-8") as file:
        try:
            yield write
        finally:
            file.write("\n]\n" if before == "," else "[]\n")
            file.flush()
            aside.replace(path)


def save_picture(image: Image.Image, path: Path) -> None:
    """Write a PNG whole; lightly compressed, which is several times faster and little larger."""
    write_whole(lambda aside: image.save(aside, format="PNG", compress_level=1), path)

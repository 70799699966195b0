"""What is asked for, from options that go together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...assigners.spec import split as split_names
from ...evidence.drawing.canvas import FORMATS
from ..files import check_files

PAGE = ".html"


@dataclass(frozen=True)
class Asked:
    """The options of one call.

    Attributes:
        question: "picture" of an image; "difference" between two assignments of one; "why" of one of its objects; "split",
            statistics of all its images.
        image: index in the split or a file's name.
        split: its name.
        specs: of the assigners; None is what is usual.
        object: its number, of "why".
        detector, run, checkpoints, out, json_file, outputs, theme, seed: as given.
    """

    question: str
    image: str
    split: str
    specs: list[str] | None
    object: int | None
    detector: str | None
    run: Path | None
    checkpoints: list[str]
    out: Path | None
    json_file: Path | None
    outputs: bool
    theme: str | None
    seed: int

    @property
    def stored_size(self) -> bool:
        """Whether images stay at the size they are stored in: where no detector says another."""
        return self.run is None and self.detector is None


def asked(
    image: str | None = None,
    split: str | None = None,
    assigners: str | None = None,
    checkpoint: str | None = None,
    diff: tuple[str, str] | None = None,
    why: str | None = None,
    out: Path | None = None,
    json_file: Path | None = None,
    **given: Any,
) -> Asked:
    """What the options ask for, once they go together.

    Raises:
        ValueError, OSError: when they do not, or a file could not be written.
    """
    check_files(out, json_file)
    check_suffix(out)
    checkpoints = _checkpoints(checkpoint, given["run"], given["detector"])
    question = _question(image, split, diff, why, checkpoints)
    specs = split_names(assigners, "name") if assigners else None
    if diff:
        specs = _two(diff, assigners)
    if len(checkpoints) == 2 and specs and len(specs) > 1:
        raise ValueError(f"--checkpoint {checkpoint}: compares two under one assigner, got {len(specs)} assigners")
    if given["outputs"] and question != "picture":
        raise ValueError("--outputs: is a picture of one image; leave it out, or --diff, --why and two checkpoints")
    number = None
    if why:
        image, number = _object(why, image)
        if out:
            raise ValueError(f"--out {out}: --why prints words and a table; --json writes them down")
    files = {"out": out, "json_file": json_file}
    return Asked(question, image or "0", split or "val", specs, number, checkpoints=checkpoints, **files, **given)


def check_suffix(path: Path | None) -> None:
    """Raise ValueError for a name that no picture or page has."""
    if path and path.suffix and path.suffix.lower() not in (*FORMATS, PAGE):
        raise ValueError(f"--out {path}: expected a name that ends in {', '.join(FORMATS)} or {PAGE}")


def _question(
    image: str | None, split: str | None, diff: tuple[str, str] | None, why: str | None, checkpoints: list[str]
) -> str:
    if why and (diff or len(checkpoints) == 2):
        raise ValueError("--why: is about one assignment; leave it out, or --diff and the second checkpoint")
    if diff and len(checkpoints) == 2:
        raise ValueError("--diff: two assigners or two checkpoints are compared; leave one of the two out")
    if why:
        return "why"
    if diff or len(checkpoints) == 2:
        return "difference"
    return "split" if split and image is None else "picture"


def _checkpoints(text: str | None, run: Path | None, detector: str | None) -> list[str]:
    if text is None:
        if run is not None and detector:
            raise ValueError(f"--detector {detector}: the run has a detector already; leave one of the two out")
        return []
    if run is None:
        raise ValueError(f"--checkpoint {text}: belongs to a run; give its folder with --run")
    names = [name.strip() for name in text.split(",")]
    if not 1 <= len(names) <= 2 or not all(names) or len(set(names)) < len(names):
        raise ValueError(
            f"--checkpoint {text}: expected one of the run, or two different ones with a comma between them"
        )
    return names


def _two(diff: tuple[str, str], assigners: str | None) -> list[str]:
    if assigners:
        raise ValueError(f"--assigners {assigners}: --diff names two already; leave one of the two out")
    specs = split_names(",".join(diff), "name")
    if len(specs) != 2:
        raise ValueError(f"--diff {' '.join(diff)}: expected two different assigners")
    return specs


def _object(why: str, image: str | None) -> tuple[str, int]:
    """Image and number of `IMAGE:OBJECT`; the image's name may have colons."""
    which, colon, number = why.rpartition(":")
    if not colon or not which or not number.isdecimal():
        raise ValueError(f"--why {why}: expected an image and the number of one of its objects, as 3:0 or street.jpg:0")
    if image is not None:
        raise ValueError(f"--image {image}: --why {why} names an image already; leave --image out")
    return which, int(number)

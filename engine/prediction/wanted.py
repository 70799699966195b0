"""What a prediction is to find and to leave behind, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Wanted:
    """What a prediction is to find and to leave behind.

    Attributes:
        score: detections at or below it are left out.
        limit: at most so many detections per image; None keeps the model's own limit. A query detector has no more than
            queries times classes.
        batch: at most so many images pass the network together, those that have one size there; none is padded for others.
        draw: a PNG of each image, an MP4 of each video.
        crops: a PNG of each detection in an image.
        forms: of `FORMS`, besides the list.
        every: of a video's frames, each so-many-th.
        ids: an annotation file in COCO form, of which the image ids are taken for COCO results; None has those of the names.
    """

    score: float = 0.3
    limit: int | None = None
    batch: int = 1
    draw: bool = True
    crops: bool = False
    forms: tuple[str, ...] = ()
    every: int = 1
    ids: Path | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of some files.

    Attributes:
        images: that were done.
        frames: of videos that were done.
        videos: that were done.
        detections: in all of them.
        failures: a sentence for each file that failed, or ended before it should.
    """

    images: int = 0
    frames: int = 0
    videos: int = 0
    detections: int = 0
    failures: tuple[str, ...] = field(default=())

    @classmethod
    def together(cls, parts: Iterable[Outcome]) -> Outcome:
        """The sum of several."""
        parts = list(parts)
        counts = {
            name: sum(getattr(part, name) for part in parts) for name in ("images", "frames", "videos", "detections")
        }
        return cls(**counts, failures=tuple(failure for part in parts for failure in part.failures))

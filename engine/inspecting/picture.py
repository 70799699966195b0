"""One image under assigners: a picture, a page, and numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...evidence.drawing.canvas import save
from ...evidence.drawing.theme import themed
from ...evidence.inspection.scene import Scene
from ...evidence.pages.content import content_of
from ...evidence.pages.page import page
from ..files import write_bytes, write_whole
from ..scenes import load_scene
from .asked import PAGE, Asked, check_suffix
from .subject import Subject

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DARK = "dark"


@dataclass(frozen=True)
class Inspection:
    """Who learns what in one image, under each of some assigners.

    Attributes:
        scene: the image and its objects.
        inspections: one for each assigner, with its name.
        origin: where the predictions come from, in words.
        split: that the image is of.
        draw: from scene, inspections and a subtitle to the picture.
        content: from the same to what a page shows.
    """

    scene: Scene
    inspections: Sequence[Any]
    origin: str
    split: str
    draw: Callable[[Scene, Sequence[Any], str], Figure]
    content: Callable[[Scene, Sequence[Any], str], Mapping[str, Any]] = content_of

    @property
    def subtitle(self) -> str:
        """Which image it is, and whose predictions."""
        return f"{self.split} image {self.scene.index}   ·   {self.origin}"

    def plot(self, theme: str = DARK) -> Figure:
        """The picture, a figure of matplotlib; theme: "dark" or "light"."""
        with themed(theme):
            return self.draw(self.scene, self.inspections, self.subtitle)

    def save(self, path: str | Path, theme: str | None = None) -> Path:
        """Write a picture (.png, .pdf, .svg), or a page that needs no other file (.html).

        theme: "dark" or "light"; dark if left out, and in a page the reader's own.

        Raises:
            ValueError: for a name of something else.
        """
        path = Path(path)
        check_suffix(path)
        if kind_of(path) == "page":
            shown = self.content(self.scene, self.inspections, self.subtitle)
            write_bytes(page(shown, theme).encode(errors="backslashreplace"), path)
        else:
            write_figure(lambda: self.draw(self.scene, self.inspections, self.subtitle), path, theme)
        return path

    def to_dict(self) -> dict[str, Any]:
        """Everything about the image and its objects in plain values."""
        height, width = self.scene.image.shape[:2]
        boxes, labels = self.scene.targets.boxes[0].tolist(), self.scene.targets.labels[0].tolist()
        return {
            "image": self.scene.name,
            "index": self.scene.index,
            "split": self.split,
            "width": width,
            "height": height,
            "predictions": self.origin,
            "targets": [
                {
                    "label": self.scene.classes[label],
                    "box": box,
                    "assigners": {each.name: each.target(index) for each in self.inspections},
                }
                for index, (box, label) in enumerate(zip(boxes, labels, strict=True))
            ],
            "assigners": {each.name: each.totals() for each in self.inspections},
        }


def inspect_image(wanted: Asked, subject: Subject) -> Inspection:
    """The image that is wanted under the assigners that are."""
    scene, origin = scene_of(wanted, subject)
    found = subject.form.inspections_of(wanted.specs, subject.config, subject.checkpoint, scene, wanted.seed)
    return Inspection(scene, found, origin, wanted.split, subject.form.draw)


def scene_of(wanted: Asked, subject: Subject) -> tuple[Scene, str]:
    """The image, and where its predictions come from."""
    scene = load_scene(subject.source, subject.config["input"], wanted.image, wanted.split, wanted.stored_size)
    return scene, origin_of(wanted, subject)


def origin_of(wanted: Asked, subject: Subject) -> str:
    """Where predictions come from, in words."""
    if not subject.checkpoints:
        return f"simulated predictions, seed {wanted.seed}"
    return f"predictions of {' and '.join(map(str, subject.checkpoints))}"


def write_figure(draw: Callable[[], Figure], path: Path, theme: str | None) -> None:
    """Draw in a theme, dark if there is none, and write it whole."""
    with themed(theme or DARK):
        figure = draw()
    write_whole(lambda aside: save(figure, aside, like=path), path)


def kind_of(path: Path) -> str:
    """What a file of this name is."""
    return "page" if path.suffix.lower() == PAGE else "picture"
